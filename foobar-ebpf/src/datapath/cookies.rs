//! SYNs that the rules allowed: counted, and answered with a cookie while the agent has armed them.

use aya_ebpf::bindings::{
    BPF_F_CURRENT_NETNS, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NOT_FWDED, bpf_fib_lookup,
    bpf_sock_tuple, tcphdr, xdp_action, xdp_md,
};
use aya_ebpf::helpers::{
    bpf_check_mtu, bpf_fib_lookup as fib_lookup, bpf_ktime_get_ns, bpf_sk_release, bpf_skc_lookup_tcp,
    bpf_tcp_gen_syncookie, bpf_xdp_get_buff_len,
};
use foobar_ebpf::abi::control;
use foobar_ebpf::abi::cookie::{Offer, Outcome};
use foobar_ebpf::cookie::{self, Host, IP_WORDS, SYN_WORDS};
use foobar_ebpf::packet::{Packet, Scratch};

use super::maps;
use super::reject::{XdpFrame, within};

const NS_A_MS: u64 = 1_000_000;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

/// Bytes of a question about a route, as the helper wants them.
const ROUTE_BYTES: i32 = 64;
const _: () = assert!(size_of::<bpf_fib_lookup>() == 64);

/// Counts a SYN, and answers it if cookies are armed and it can have one; gives the XDP action. Apart
/// from the path of every packet, which would pay for its registers.
#[inline(never)]
pub(super) fn answer(ctx: *mut xdp_md, scratch: &Scratch, ifindex: u32) -> u32 {
    let outcome = match Offer::from_word(maps::control(control::SYN_COOKIES)) {
        None => Outcome::Idle,
        Some(_) if maps::is_left_to_the_stack(scratch.parsed().packet.transport.destination_port) => {
            Outcome::Port
        }
        Some(offer) => return try_answer(ctx, scratch, ifindex, offer),
    };
    maps::add(&maps::COOKIES, outcome as u32, 0);
    xdp_action::XDP_PASS
}

#[inline(always)]
fn try_answer(ctx: *mut xdp_md, scratch: &Scratch, ifindex: u32, offer: Offer) -> u32 {
    let Some(memory) = maps::cookie_memory() else { return xdp_action::XDP_PASS };
    // SAFETY: the context is the one that the program was given.
    let length_bytes = unsafe { bpf_xdp_get_buff_len(ctx) } as u32;
    let mut frame = XdpFrame { ctx, length_bytes };
    let mut host = KernelHost { ctx, ifindex, route: &mut memory.route };
    let outcome = cookie::answer(&mut frame, scratch, offer, &mut host, &mut memory.answer);
    let (bytes, action) = match outcome {
        Outcome::Sent => (frame.length_bytes, xdp_action::XDP_TX),
        // Half an answer is nothing for the stack.
        Outcome::Frame => (0, xdp_action::XDP_DROP),
        _ => (0, xdp_action::XDP_PASS),
    };
    maps::add(&maps::COOKIES, outcome as u32, u64::from(bytes));
    action
}

/// The network namespace that the interface is in.
struct KernelHost<'a> {
    ctx: *mut xdp_md,
    ifindex: u32,
    route: &'a mut bpf_fib_lookup,
}

impl Host for KernelHost<'_> {
    #[inline(always)]
    fn station(&self) -> u64 {
        maps::station(self.ifindex)
    }

    #[inline(always)]
    fn mtu_bytes(&self) -> u32 {
        let mut mtu_bytes = 0;
        // SAFETY: the helper (Linux 5.12) writes the one number, and compares nothing with it where it
        // is 0. Interface 0 is the one on which the packet arrived.
        unsafe { bpf_check_mtu(self.ctx.cast(), 0, &raw mut mtu_bytes, 0, 0) };
        mtu_bytes
    }

    #[inline(always)]
    fn now_ms(&self) -> u32 {
        // SAFETY: the helper has no preconditions.
        (unsafe { bpf_ktime_get_ns() } / NS_A_MS) as u32
    }

    #[inline(always)]
    fn cookie(
        &mut self,
        packet: &Packet,
        ip: &[u32; IP_WORDS],
        (syn, syn_bytes): (&[u32; SYN_WORDS], u32),
    ) -> Result<u32, Outcome> {
        let (mut tuple, tuple_bytes) = tuple(packet, ip);
        // SAFETY: integers, and a length within them. A negative number is this namespace.
        let socket = unsafe {
            let here = i64::from(BPF_F_CURRENT_NETNS).cast_unsigned();
            bpf_skc_lookup_tcp(self.ctx.cast(), &raw mut tuple, tuple_bytes, here, 0)
        };
        if socket.is_null() {
            return Err(Outcome::NoListener);
        }
        let ip_bytes = if packet.is_ipv4() { 20 } else { 40 };
        // The helper also renews the stamp without which the stack would refuse the acknowledgement. It
        // wants the lengths as the verifier sees them.
        let made = match within::<SYN_WORDS>(syn_bytes) {
            // SAFETY: the socket is held until its release, and the helper only reads both headers.
            Some(syn_bytes) => unsafe {
                let (ip, syn) = (ip.as_ptr().cast_mut(), syn.as_ptr().cast_mut());
                bpf_tcp_gen_syncookie(socket.cast(), ip.cast(), ip_bytes, syn.cast::<tcphdr>(), syn_bytes)
            },
            None => -1,
        };
        // SAFETY: the lookup gave it.
        unsafe { bpf_sk_release(socket.cast()) };
        if made < 0 {
            return Err(Outcome::Refused);
        }
        if !self.is_for_this_host(packet, ip) {
            return Err(Outcome::NoListener);
        }
        // The MSS that it holds is above it.
        Ok(made.cast_unsigned() as u32)
    }
}

/// What the sockets are looked up by, and the bytes of it that count in this family.
#[inline(always)]
fn tuple(packet: &Packet, ip: &[u32; IP_WORDS]) -> (bpf_sock_tuple, u32) {
    // SAFETY: integers.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let (from, to) = (packet.transport.source_port.to_be(), packet.transport.destination_port.to_be());
    // SAFETY: the fields of a union of integers.
    unsafe {
        if packet.is_ipv4() {
            let ipv4 = &mut tuple.__bindgen_anon_1.ipv4;
            (ipv4.saddr, ipv4.daddr, ipv4.sport, ipv4.dport) = (ip[3], ip[4], from, to);
            (tuple, size_of_val(&tuple.__bindgen_anon_1.ipv4) as u32)
        } else {
            let ipv6 = &mut tuple.__bindgen_anon_1.ipv6;
            ipv6.saddr = [ip[2], ip[3], ip[4], ip[5]];
            ipv6.daddr = [ip[6], ip[7], ip[8], ip[9]];
            (ipv6.sport, ipv6.dport) = (from, to);
            (tuple, size_of_val(&tuple.__bindgen_anon_1.ipv6) as u32)
        }
    }
}

impl KernelHost<'_> {
    /// Whether the stack would keep the packet. A listener on any address would otherwise be taken to
    /// listen on the addresses of hosts that this one forwards to. Where it does not forward, the
    /// kernel says no more than that, and at once.
    #[inline(always)]
    fn is_for_this_host(&mut self, packet: &Packet, ip: &[u32; IP_WORDS]) -> bool {
        // SAFETY: integers.
        *self.route = unsafe { core::mem::zeroed() };
        self.route.l4_protocol = 6;
        self.route.ifindex = self.ifindex;
        if packet.is_ipv4() {
            self.route.family = AF_INET;
            (self.route.__bindgen_anon_3.ipv4_src, self.route.__bindgen_anon_4.ipv4_dst) = (ip[3], ip[4]);
        } else {
            self.route.family = AF_INET6;
            self.route.__bindgen_anon_3.ipv6_src = [ip[2], ip[3], ip[4], ip[5]];
            self.route.__bindgen_anon_4.ipv6_dst = [ip[6], ip[7], ip[8], ip[9]];
        }
        // SAFETY: the helper reads and writes the whole of `route`.
        let found = unsafe { fib_lookup(self.ctx.cast(), core::ptr::from_mut(self.route), ROUTE_BYTES, 0) };
        found == i64::from(BPF_FIB_LKUP_RET_NOT_FWDED) || found == i64::from(BPF_FIB_LKUP_RET_FWD_DISABLED)
    }
}
