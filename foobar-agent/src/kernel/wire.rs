//! Messages over a socket between two processes of one build: a length, a value in postcard's form,
//! and descriptors beside it (`SCM_RIGHTS`). Knows no message.
//!
//! ```text
//! 4 bytes, big endian │ as many bytes of postcard
//! descriptors travel with the length
//! ```

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest message, in bytes: the largest image of rules (2^24 units of 32 bytes) with its names.
const MESSAGE_MAX: u32 = 768 << 20;
/// Most descriptors with one message.
const DESCRIPTORS_MAX: usize = 16;

/// One end of a conversation. Blocks; who asks waits for the answer.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: UnixStream,
}

/// A message with what came beside it.
pub(crate) type Received<T> = (T, Vec<OwnedFd>);

impl Channel {
    pub(crate) fn new(socket: UnixStream) -> Self {
        Self { socket }
    }

    /// Sends a message and, with it, copies of descriptors.
    pub(crate) fn send<T: Serialize>(&self, message: &T, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = postcard::to_stdvec(message).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MESSAGE_MAX);
        let length = length.ok_or_else(|| io::Error::other("a message is too long"))?;
        self.send_length(length, descriptors)?;
        (&self.socket).write_all(&bytes)
    }

    fn send_length(&self, length: u32, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for a message"));
        }
        let length = length.to_be_bytes();
        // A socket that has room at all takes four bytes whole.
        let sent = sendmsg(&self.socket, &[IoSlice::new(&length)], &mut beside, SendFlags::NOSIGNAL)?;
        if sent == length.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
    }

    /// The next message; `None` when the other end is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<Received<T>>> {
        let Some((length, descriptors)) = self.receive_length()? else { return Ok(None) };
        if length > MESSAGE_MAX {
            return Err(io::Error::other("a message is too long"));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        (&self.socket).take(length.into()).read_to_end(&mut bytes)?;
        if bytes.len() != length as usize {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let message = postcard::from_bytes(&bytes).map_err(io::Error::other)?;
        Ok(Some((message, descriptors)))
    }

    fn receive_length(&self) -> io::Result<Option<(u32, Vec<OwnedFd>)>> {
        let mut length = [0; 4];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let parts = &mut [IoSliceMut::new(&mut length)];
            match recvmsg(&self.socket, parts, &mut beside, RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL) {
                Err(rustix::io::Errno::INTR) => {}
                received => break received?,
            }
        };
        let mut descriptors = Vec::new();
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        match received.bytes {
            0 => Ok(None),
            4 => Ok(Some((u32::from_be_bytes(length), descriptors))),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Descriptors as a message's companions.
pub(super) fn borrowed(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

/// Enums of the ABI, by their discriminants.
pub(super) mod code {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::kernel) fn serialize<T, S>(value: &T, serializer: S) -> Result<S::Ok, S::Error>
    where
        T: Copy + Into<u32>,
        S: Serializer,
    {
        serializer.serialize_u32((*value).into())
    }

    pub(in crate::kernel) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: TryFrom<u32>,
        D: Deserializer<'de>,
    {
        let number = u32::deserialize(deserializer)?;
        T::try_from(number).map_err(|_| D::Error::custom(format_args!("{number} is no word of the ABI")))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Seek;
    use std::thread;

    use super::*;

    fn pair() -> (Channel, Channel) {
        let (one, other) = UnixStream::pair().unwrap();
        (Channel::new(one), Channel::new(other))
    }

    #[test]
    fn a_message_of_many_megabytes_arrives_whole() {
        let (one, other) = pair();
        let sent: Vec<u32> = (0..16 << 20).collect();
        let copy = sent.clone();
        let sender = thread::spawn(move || one.send(&copy, &[]).unwrap());
        let (received, descriptors) = other.receive::<Vec<u32>>().unwrap().unwrap();
        assert!(received == sent && descriptors.is_empty());
        sender.join().unwrap();
        assert!(other.receive::<u32>().unwrap().is_none(), "the sender is gone");
    }

    #[test]
    fn descriptors_arrive_with_their_message() {
        let (one, other) = pair();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"held").unwrap();
        one.send(&1u32, &[]).unwrap();
        one.send(&2u32, &[file.as_fd(), file.as_fd()]).unwrap();
        one.send(&3u32, &[]).unwrap();
        assert!(matches!(other.receive::<u32>().unwrap(), Some((1, fds)) if fds.is_empty()));
        let (number, mut descriptors) = other.receive::<u32>().unwrap().unwrap();
        assert_eq!((number, descriptors.len()), (2, 2));
        let mut copy = File::from(descriptors.pop().unwrap());
        let mut text = String::new();
        copy.rewind().unwrap();
        copy.read_to_string(&mut text).unwrap();
        assert_eq!(text, "held");
        assert!(matches!(other.receive::<u32>().unwrap(), Some((3, fds)) if fds.is_empty()));
    }

    #[test]
    fn what_is_no_message_is_an_error_and_no_panic() {
        let (one, other) = pair();
        (&one.socket).write_all(&[0xff; 8]).unwrap();
        assert!(other.receive::<u32>().is_err());
        let (one, other) = pair();
        (&one.socket).write_all(&[0, 0, 0, 9, 1]).unwrap();
        drop(one);
        assert!(other.receive::<String>().is_err());
    }
}
