//! Frames onto and off an interface (packet sockets): what the stack would never send, and what really
//! arrived.

use std::io::{self, ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, Socket, Type};

use crate::host::Host;
use crate::sys::bind_packet_socket;
use crate::wait;

/// Larger than any frame on a veth.
const FRAME_BYTES_MAX: usize = 65_600;

/// How long a receiver may take to make room for a frame.
const ROOM_LIMIT: Duration = Duration::from_secs(10);

/// A packet socket on one interface of one host. It sees what the stack sees: what XDP dropped, or
/// what never reached the interface, does not appear.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    name: String,
}

impl Wire {
    /// Opens one. Frames that arrive from now on are kept until read.
    pub fn open(host: &Host, interface: &str) -> Result<Self> {
        let name = format!("{} of {}", interface, host.name());
        let index = host.ip(&format!("-j link show dev {interface}"))?;
        let index: serde_json::Value = serde_json::from_str(&index).context("ip -j did not answer JSON")?;
        let index = index.pointer("/0/ifindex").and_then(serde_json::Value::as_u64);
        let index = index.and_then(|index| u32::try_from(index).ok()).context("ip -j named no ifindex")?;
        let open = || -> io::Result<Socket> {
            // Protocol 0: nothing is received before the socket is bound to its interface.
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
            bind_packet_socket(&socket, index)?;
            Ok(socket)
        };
        let socket = host.enter(open)?.with_context(|| format!("cannot open a packet socket on {name}"))?;
        Ok(Self { socket, name })
    }

    /// Sends one frame, as it is. The other end of a link may have more frames before it than it has
    /// room for: then the kernel says that it dropped this one (ENOBUFS), and it is sent anew.
    pub fn send(&self, frame: &[u8]) -> Result<()> {
        let send = || match (&self.socket).write(frame) {
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(None),
            sent => sent.map(Some).with_context(|| format!("cannot send {} bytes", frame.len())),
        };
        let what = format!("there is room for a frame on {}", self.name);
        wait::until(&what, ROOM_LIMIT, send).map(drop)
    }

    /// The next frame that pleases, received or sent by this host; none within the limit.
    pub fn receive(
        &self,
        limit: Duration,
        mut pleases: impl FnMut(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>> {
        let end = Instant::now() + limit;
        let mut frame = vec![0; FRAME_BYTES_MAX];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.socket.set_read_timeout(Some(left)).context("cannot set a time limit")?;
            match (&self.socket).read(&mut frame) {
                Ok(length) if pleases(&frame[..length]) => return Ok(Some(frame[..length].to_vec())),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot receive on {}", self.name)),
            }
        }
    }
}
