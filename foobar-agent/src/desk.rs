//! What the agent asks of the kernel process besides the datapath, because it has no right to it itself: to
//! read a file that only root may read, and to bind a port below 1024. Both are tried without it first.
//!
//! One desk a process: who reads files is deep in other modules, and the command line reads the same files
//! with its own rights and no desk.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use serde::{Deserialize, Serialize};
use socket2::Socket;

use crate::kernel::Channel;

/// Longest file that is read whole; certificates and keys are a few thousand bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

static DESK: OnceLock<Desk> = OnceLock::new();

#[derive(Debug)]
struct Desk {
    /// A question and its answer go together.
    channel: Mutex<Channel>,
    /// Who asks, for messages.
    user: String,
}

/// What is asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// Open this file to read.
    Read(PathBuf),
    /// Bind the socket that comes along.
    Bind(SocketAddr),
}

/// Why not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum No {
    /// The kernel's word.
    Errno(i32),
    /// It is not among what the agent may have.
    Outside(Vec<PathBuf>),
    /// It is no file, or no socket of TCP.
    Kind,
}

/// Answers, with a descriptor where one was asked for.
pub(crate) type Answer = Result<(), No>;

/// Opens the desk of this process, once.
pub(crate) fn open(channel: Channel, user: String) {
    let _ = DESK.set(Desk { channel: Mutex::new(channel), user });
}

/// A file that was opened or, where only rights were missing, is opened by the kernel process.
///
/// # Errors
/// As opening has; with what to do where the kernel process refuses, too.
pub fn or_ask(opened: io::Result<File>, path: &Path) -> io::Result<File> {
    match (opened, DESK.get()) {
        (Err(error), Some(desk)) if error.kind() == ErrorKind::PermissionDenied => {
            let absolute = std::path::absolute(path)?;
            desk.ask(&Wish::Read(absolute), &[])?.map(File::from).ok_or(error)
        }
        (opened, _) => opened,
    }
}

/// The whole of a file, by whoever may read it.
///
/// # Errors
/// As for [`or_ask`], and where it is longer than any that is meant.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    or_ask(File::open(path), path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// Whether there is nothing of this name.
pub fn is_absent(path: &Path) -> bool {
    let absent = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    match path.metadata() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            or_ask(Err(error), path).is_err_and(|error| absent(&error))
        }
        found => found.is_err_and(|error| absent(&error)),
    }
}

/// Binds a socket, by whoever may bind its port.
///
/// # Errors
/// As binding has.
pub fn bind(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match (socket.bind(&address.into()), DESK.get()) {
        (Err(error), Some(desk)) if error.kind() == ErrorKind::PermissionDenied => {
            desk.ask(&Wish::Bind(address), &[socket.as_fd()]).map(drop)
        }
        (bound, _) => bound,
    }
}

impl Desk {
    fn ask(&self, wish: &Wish, beside: &[BorrowedFd<'_>]) -> io::Result<Option<OwnedFd>> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        channel.send(wish, beside)?;
        let Some((answer, mut descriptors)) = channel.receive::<Answer>()? else {
            return Err(io::Error::other("the kernel process has ended"));
        };
        match answer {
            Ok(()) => Ok(descriptors.pop()),
            Err(no) => Err(self.refusal(no)),
        }
    }

    fn refusal(&self, no: No) -> io::Error {
        match no {
            No::Errno(number) => io::Error::from_raw_os_error(number),
            No::Kind => io::Error::other("it is neither a regular file nor a TCP socket"),
            No::Outside(folders) => {
                let folders: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
                io::Error::new(
                    ErrorKind::PermissionDenied,
                    format!(
                        "the running agent reads as {}, and what that user may not only below {}; move the file \
                         there, or restart the agent with this configuration",
                        self.user,
                        folders.join(", ")
                    ),
                )
            }
        }
    }
}
