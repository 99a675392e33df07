//! The kernel process's side of the desk (`crate::desk`): opens files to read and binds sockets for the agent,
//! which has no right to. Narrow, since who asks may have been taken over: only regular files, only below
//! folders that were named before the agent had read anything of the network, only sockets of TCP.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::net::{AddressFamily, SocketType, ipproto, sockopt};
use socket2::{SockAddr, Socket};

use super::error::KernelError;
use super::wire::{Channel, borrowed};
use crate::desk::{Answer, No, Wish};

/// Serves the agent in a thread of its own, so that it does not wait for the verifier.
pub(super) fn serve(channel: Channel, readable: &[PathBuf]) -> Result<(), KernelError> {
    // Links in the folders' own names lead where they lead now.
    let readable: Vec<PathBuf> = readable.iter().filter_map(|folder| folder.canonicalize().ok()).collect();
    let work = move || {
        if let Err(error) = answer_all(&channel, &readable) {
            tracing::error!("the agent can no longer ask for files and ports: {error}");
        }
    };
    let thread = thread::Builder::new().name("desk".to_owned()).spawn(work);
    thread.map(drop).map_err(|source| KernelError::System { what: "cannot start the desk", source })
}

fn answer_all(channel: &Channel, readable: &[PathBuf]) -> io::Result<()> {
    while let Some((wish, beside)) = channel.receive::<Wish>()? {
        let done = match wish {
            Wish::Read(path) => open(&path, readable).map(|file| vec![file]),
            Wish::Bind(address) => bind(beside, address).map(|()| Vec::new()),
        };
        let (answer, descriptors): (Answer, _) = match done {
            Ok(descriptors) => (Ok(()), descriptors),
            Err(no) => (Err(no), Vec::new()),
        };
        channel.send(&answer, &borrowed(&descriptors))?;
    }
    Ok(())
}

/// Looks where a name leads before anything of it is opened, and opens what was looked at: the name may be
/// another file's by then.
fn open(path: &Path, readable: &[PathBuf]) -> Result<OwnedFd, No> {
    let errno = |error: rustix::io::Errno| No::Errno(error.raw_os_error());
    let found = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(errno)?;
    let found_at = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let leads_to =
        fs::read_link(&found_at).map_err(|error| No::Errno(error.raw_os_error().unwrap_or(libc::EIO)))?;
    if !readable.iter().any(|folder| leads_to.starts_with(folder)) {
        return Err(No::Outside(readable.to_vec()));
    }
    if FileType::from_raw_mode(fstat(&found).map_err(errno)?.st_mode) != FileType::RegularFile {
        return Err(No::Kind);
    }
    openat(CWD, &found_at, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty()).map_err(errno)
}

fn bind(mut sockets: Vec<OwnedFd>, address: SocketAddr) -> Result<(), No> {
    let socket = sockets.pop().ok_or(No::Kind)?;
    let is_tcp = || -> rustix::io::Result<bool> {
        let family = sockopt::socket_domain(socket.as_fd())?;
        Ok((family == AddressFamily::INET || family == AddressFamily::INET6)
            && sockopt::socket_type(socket.as_fd())? == SocketType::STREAM
            && sockopt::socket_protocol(socket.as_fd())? == Some(ipproto::TCP))
    };
    if !is_tcp().unwrap_or(false) {
        return Err(No::Kind);
    }
    Socket::from(socket)
        .bind(&SockAddr::from(address))
        .map_err(|error| No::Errno(error.raw_os_error().unwrap_or(libc::EIO)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use socket2::{Domain, Protocol, Type};

    use super::*;

    #[test]
    fn only_files_below_the_folders_are_opened_whatever_leads_there() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(inside.path().join("key.pem"), "key").unwrap();
        fs::write(outside.path().join("shadow"), "secret").unwrap();
        symlink(outside.path().join("shadow"), inside.path().join("way-out")).unwrap();
        symlink(inside.path().join("key.pem"), outside.path().join("way-in")).unwrap();
        let readable = [inside.path().canonicalize().unwrap()];
        let opened = |path: PathBuf| open(&path, &readable);

        let mut text = String::new();
        fs::File::from(opened(inside.path().join("key.pem")).unwrap()).read_to_string(&mut text).unwrap();
        assert_eq!(text, "key");
        assert!(opened(outside.path().join("way-in")).is_ok());
        for path in ["shadow", "../shadow"] {
            assert!(
                matches!(opened(outside.path().join(path)), Err(No::Outside(_) | No::Errno(_))),
                "{path}"
            );
        }
        assert!(matches!(opened(inside.path().join("way-out")), Err(No::Outside(_))));
        assert!(matches!(opened(inside.path().to_owned()), Err(No::Kind)));
        assert!(matches!(opened(inside.path().join("absent")), Err(No::Errno(libc::ENOENT))));
    }

    #[test]
    fn only_sockets_of_tcp_are_bound() {
        let address = "127.0.0.1:0".parse().unwrap();
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        bind(vec![tcp.try_clone().unwrap().into()], address).unwrap();
        assert_ne!(tcp.local_addr().unwrap().as_socket().unwrap().port(), 0);
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        let file = tempfile::tempfile().unwrap();
        for other in [vec![udp.into()], vec![file.into()], Vec::new()] {
            assert!(matches!(bind(other, address), Err(No::Kind)));
        }
    }
}
