//! The host's own sockets, asked by the helpers of the kernel.

use aya_ebpf::bindings::{BPF_F_CURRENT_NETNS, bpf_sock, xdp_md};
use aya_ebpf::helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp};
use foobar_ebpf::packet::{Address, Packet, TransportKind};
use foobar_ebpf::socket::Sockets;

use super::state::KernelState;

/// Of the kernel's `enum` of TCP states: a connected UDP socket is in the first one as well.
const TCP_ESTABLISHED: u32 = 1;
const TCP_LISTEN: u32 = 10;

/// The network namespace of the interface.
const NETNS: u64 = (BPF_F_CURRENT_NETNS as i64).cast_unsigned();

/// `struct bpf_sock_tuple`: addresses and ports of the sender and of this host, in network byte order.
/// IPv4 takes the first three words.
type SockTuple = [u32; 9];
const IPV4_TUPLE_BYTES: u32 = 12;
const IPV6_TUPLE_BYTES: u32 = 36;

impl Sockets for KernelState {
    #[inline(always)]
    fn hold(&self, packet: &Packet) -> bool {
        hold(self.ctx, packet) != 0
    }
}

/// Apart from the path of every packet, which would pay for its registers.
#[inline(never)]
fn hold(ctx: *mut xdp_md, packet: &Packet) -> u32 {
    let is_tcp = packet.transport.kind == TransportKind::Tcp;
    let mut tuple = tuple(packet);
    let tuple = tuple.as_mut_ptr().cast();
    let bytes = if packet.is_ipv4() { IPV4_TUPLE_BYTES } else { IPV6_TUPLE_BYTES };
    // SAFETY: the context is the program's own, and the tuple is at least as long as is said. A socket
    // that is found is read while it is held, and given back.
    unsafe {
        let socket = if is_tcp {
            bpf_skc_lookup_tcp(ctx.cast(), tuple, bytes, NETNS, 0)
        } else {
            bpf_sk_lookup_udp(ctx.cast(), tuple, bytes, NETNS, 0)
        };
        if socket.is_null() {
            return 0;
        }
        let holds = if is_tcp { (*socket).state != TCP_LISTEN } else { is_connected(socket, packet) };
        bpf_sk_release(socket.cast());
        u32::from(holds)
    }
}

/// Whether a UDP socket, which the kernel found for this packet, takes packets of this sender alone.
///
/// # Safety
/// The socket must be held.
#[inline(always)]
unsafe fn is_connected(socket: *mut bpf_sock, packet: &Packet) -> bool {
    // SAFETY: it is held. The port is in network byte order.
    let (state, port) = unsafe { ((*socket).state, (*socket).dst_port) };
    state == TCP_ESTABLISHED && port == packet.transport.source_port.to_be()
}

#[inline(always)]
fn tuple(packet: &Packet) -> SockTuple {
    let transport = &packet.transport;
    let ports = (u32::from(transport.source_port) << 16 | u32::from(transport.destination_port)).to_be();
    let (source, destination) = (words(packet.source), words(packet.destination));
    if packet.is_ipv4() {
        return [source[3], destination[3], ports, 0, 0, 0, 0, 0, 0];
    }
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (source, destination);
    [s0, s1, s2, s3, d0, d1, d2, d3, ports]
}

#[inline(always)]
const fn words(Address { high, low }: Address) -> [u32; 4] {
    [((high >> 32) as u32).to_be(), (high as u32).to_be(), ((low >> 32) as u32).to_be(), (low as u32).to_be()]
}
