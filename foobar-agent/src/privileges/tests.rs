//! What a thread can still do that is closed in as a process would be. No root is needed: what is given up is
//! given up by anybody.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;

use socket2::{Domain, Socket, Type};

use super::calls::Role;
use super::{Files, calls, fence};

/// Runs something in a thread that is closed in for good.
fn closed_in<T: Send>(role: Role, files: Files<'_>, inside: impl FnOnce() -> T + Send) -> T {
    let close_and_run = || {
        rustix::thread::set_no_new_privs(true).unwrap();
        let landlock = fence::raise(files, role).unwrap();
        assert!(landlock.is_some(), "this kernel has Landlock");
        assert!(calls::filter(role).unwrap());
        inside()
    };
    thread::scope(|scope| scope.spawn(close_and_run).join().unwrap())
}

fn kind<T>(result: std::io::Result<T>) -> Result<(), ErrorKind> {
    result.map(drop).map_err(|error| error.kind())
}

const REFUSED: Result<(), ErrorKind> = Err(ErrorKind::PermissionDenied);

#[test]
fn files_are_read_where_named_written_where_own_and_programs_are_not_run() {
    let [own, read, other] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for folder in [&own, &read, &other] {
        fs::write(folder.path().join("file"), "text").unwrap();
    }
    let file = |folder: &tempfile::TempDir| folder.path().join("file");
    let readable = [read.path().to_owned()];
    let files = Files { own: &[own.path()], readable: &readable };
    for role in [Role::Agent, Role::KernelProcess] {
        closed_in(role, files, || {
            assert_eq!(kind(fs::read(file(&read))), Ok(()));
            assert_eq!(kind(fs::write(file(&read), "new")), REFUSED);
            assert_eq!(kind(fs::remove_file(file(&read))), REFUSED);
            assert_eq!(kind(fs::write(file(&own), "new")), Ok(()));
            assert_eq!(kind(fs::rename(file(&own), own.path().join("moved"))), Ok(()));
            assert_eq!(kind(fs::rename(own.path().join("moved"), file(&own))), Ok(()));
            assert_eq!(kind(fs::read(file(&other))), REFUSED);
            assert_eq!(kind(fs::read_dir(other.path())), REFUSED);
            assert_eq!(kind(fs::write("/etc/foobar-was-here", "")), REFUSED);
            assert_eq!(kind(fs::read_dir("/root")), REFUSED);
            assert_eq!(kind(fs::read("/proc/self/stat")), Ok(()));
            assert_eq!(kind(Command::new("/bin/true").status()), REFUSED);
        });
    }
}

#[test]
fn the_agent_speaks_tcp_and_the_kernel_process_speaks_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let files = Files { own: &[], readable: &[] };
    let raw = || kind(Socket::new(Domain::PACKET, Type::RAW, None));
    closed_in(Role::Agent, files, || {
        assert_eq!(kind(TcpStream::connect(address)), Ok(()));
        assert_eq!(kind(TcpListener::bind("127.0.0.1:0")), Ok(()));
        assert_eq!(raw(), REFUSED);
    });
    let unbound = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    closed_in(Role::KernelProcess, files, || {
        assert_eq!(kind(TcpStream::connect(address)), REFUSED);
        assert_eq!(kind(unbound.connect(&address.into())), REFUSED, "nor by a socket that it is given");
        assert_eq!(
            kind(unbound.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into())),
            Ok(())
        );
        assert_eq!(raw(), REFUSED);
    });
}

/// A pool of threads must still be able to grow; and what every reload does, works.
#[test]
fn threads_start_and_names_are_looked_up() {
    let files = Files { own: &[], readable: &[] };
    closed_in(Role::Agent, files, || {
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        assert!(thread::available_parallelism().is_ok());
        let names = std::net::ToSocketAddrs::to_socket_addrs("localhost:80");
        assert!(names.is_ok_and(|mut addresses| addresses.next().is_some()));
        assert_eq!(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET), Err(nix::Error::EPERM));
        assert!(Path::new("/proc/self/fd").read_dir().is_ok());
    });
}
