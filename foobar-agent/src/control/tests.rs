//! Client and server over a real socket, with an agent that only remembers what it was asked.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::LocalSet;

use super::client::{Client, ClientError};
use super::server::Server;
use super::socket::{ControlSocket, SocketError};
use super::{
    Agent, ApplyReport, ApplyRequest, ConfirmReport, DetachReport, InForce, Refusal, ReloadReport,
    RollbackReport, RuleInForce, RulesetInForce, SOCKET_NAME,
};
use crate::config::{self, Diagnostics, Document};
use crate::kernel::LogLevel;
use crate::monitor::Source;
use crate::monitor::fixture::scenario;
use crate::monitor::snapshot::Snapshot;
use crate::samples::{Scope, Watching};

#[derive(Default)]
struct Fake {
    asked: RefCell<Vec<String>>,
    /// What a reload finds wrong.
    broken: Option<Diagnostics>,
    /// A reload says that it began, and waits until it may go on.
    slow: Option<(Notify, Notify)>,
}

impl Fake {
    fn note(&self, what: impl Into<String>) {
        self.asked.borrow_mut().push(what.into());
    }
}

impl Source for Fake {
    async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        Ok(scenario())
    }
}

impl Agent for Fake {
    fn watch(&self, _: Scope) -> Result<Watching, Refusal> {
        Err("no datapath".to_owned().into())
    }

    async fn reload(&self) -> Result<ReloadReport, Refusal> {
        if let Some((begun, go_on)) = &self.slow {
            begun.notify_one();
            go_on.notified().await;
        }
        self.note("reload");
        match &self.broken {
            Some(diagnostics) => Err(diagnostics.clone().into()),
            None => Ok(ReloadReport { generation: 8, warnings: Diagnostics::default() }),
        }
    }

    async fn apply(self: Rc<Self>, request: ApplyRequest) -> Result<ApplyReport, Refusal> {
        let ApplyRequest { document, confirm_within_seconds } = request;
        self.note(format!("apply {} {}", document.path.display(), document.text));
        Ok(ApplyReport { generation: 9, before: Some(8), confirm_within_seconds, ..ApplyReport::default() })
    }

    async fn confirm(&self) -> Result<ConfirmReport, Refusal> {
        self.note("confirm");
        Ok(ConfirmReport { generation: 9 })
    }

    async fn roll_back(&self) -> Result<RollbackReport, Refusal> {
        self.note("rollback");
        Ok(RollbackReport { generation: 8, whole: true })
    }

    async fn detach(&self) -> Result<DetachReport, Refusal> {
        self.note("detach");
        Ok(DetachReport { interfaces: vec!["eth0".to_owned()] })
    }

    async fn in_force(&self) -> Result<InForce, Refusal> {
        let rule = RuleInForce { name: "ssh".to_owned(), line: 7, rate: None };
        Ok(InForce { generation: 8, rules: vec![rule], ..InForce::default() })
    }

    async fn ruleset(&self) -> Result<RulesetInForce, Refusal> {
        Err("no rules judge here".to_owned().into())
    }

    async fn set_datapath_log(&self, level: LogLevel) -> Result<(), Refusal> {
        self.note(format!("{level:?}"));
        if level == LogLevel::Trace { Err("no datapath".to_owned().into()) } else { Ok(()) }
    }
}

fn serve(run_dir: &Path, agent: &Rc<Fake>) -> Server {
    Server::start(ControlSocket::bind(run_dir, None).unwrap(), Rc::clone(agent))
}

async fn raw(run_dir: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(run_dir.join(SOCKET_NAME)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response
}

#[tokio::test]
async fn what_the_client_asks_reaches_the_agent_and_the_answer_comes_back_whole() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().unwrap();
            let agent = Rc::new(Fake::default());
            let _server = serve(folder.path(), &agent);
            let client = Client::new(folder.path());
            assert_eq!(client.snapshot().await.unwrap(), scenario());
            assert_eq!(client.in_force().await.unwrap(), agent.in_force().await.unwrap());
            let refused = client.ruleset().await.unwrap_err();
            assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
            assert_eq!(client.reload().await.unwrap().generation, 8);
            let document = Document { path: "/etc/b.toml".into(), text: "[firewall]\n".to_owned() };
            let applied = client.apply(&ApplyRequest { document, confirm_within_seconds: Some(60) }).await;
            assert_eq!(applied.unwrap().confirm_within_seconds, Some(60));
            assert_eq!(client.confirm().await.unwrap().generation, 9);
            assert_eq!(client.roll_back().await.unwrap(), RollbackReport { generation: 8, whole: true });
            assert_eq!(client.detach().await.unwrap().interfaces, ["eth0"]);
            client.set_datapath_log(LogLevel::Debug).await.unwrap();
            assert_eq!(
                *agent.asked.borrow(),
                ["reload", "apply /etc/b.toml [firewall]\n", "confirm", "rollback", "detach", "Debug"]
            );
        })
        .await;
}

#[tokio::test]
async fn a_refusal_comes_back_with_its_diagnostics() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("foobar.toml");
            std::fs::write(&file, "[firewall]\ndefualt = \"drop\"\n").unwrap();
            let errors = config::load(&file).unwrap_err();
            let agent = Rc::new(Fake { broken: Some(errors.clone()), ..Fake::default() });
            let _server = serve(folder.path(), &agent);

            let Err(ClientError::Refused(refusal)) = Client::new(folder.path()).reload().await else {
                panic!("not refused");
            };
            assert_eq!(refusal.diagnostics, errors);
            assert!(refusal.error.contains("foobar.toml:2:1: error: "), "{refusal}");

            let error = Client::new(folder.path()).set_datapath_log(LogLevel::Trace).await.unwrap_err();
            assert_eq!(error.to_string(), "no datapath");
        })
        .await;
}

#[tokio::test]
async fn a_reload_goes_on_when_its_client_goes_away() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().unwrap();
            let agent = Rc::new(Fake { slow: Some(Default::default()), ..Fake::default() });
            let _server = serve(folder.path(), &agent);
            let client = Client::new(folder.path());
            let (begun, go_on) = agent.slow.as_ref().unwrap();
            tokio::select! {
                answer = client.reload() => panic!("answered before it was done: {answer:?}"),
                () = begun.notified() => {}
            }
            // The client and its connection are gone. That the server has seen it shows in its being
            // served again, later.
            client.snapshot().await.unwrap();
            go_on.notify_one();
            let done = async {
                while agent.asked.borrow().is_empty() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), done).await.expect("the reload goes on");
            assert_eq!(*agent.asked.borrow(), ["reload"]);
        })
        .await;
}

#[tokio::test]
async fn one_agent_runs_in_a_folder() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().unwrap();
            let agent = Rc::new(Fake::default());
            let server = serve(folder.path(), &agent);
            let error = ControlSocket::bind(folder.path(), None).unwrap_err();
            let SocketError::AnotherAgent { process, .. } = &error else { panic!("{error}") };
            assert_eq!(*process, std::process::id().to_string());
            assert!(Client::new(folder.path()).snapshot().await.is_ok(), "the live one was disturbed");

            let path = server.socket().path().to_owned();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
            drop(server);
            assert!(!path.exists());
            let error = Client::new(folder.path()).snapshot().await.unwrap_err();
            assert!(matches!(error, ClientError::NoAgent { .. }), "{error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        })
        .await;
}

#[tokio::test]
async fn what_a_dead_agent_left_behind_is_taken_over() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().unwrap();
            drop(std::os::unix::net::UnixListener::bind(folder.path().join(SOCKET_NAME)).unwrap());
            std::fs::write(folder.path().join("agent.lock"), "4194304000\n").unwrap();
            let client = Client::new(folder.path());
            assert!(matches!(client.snapshot().await, Err(ClientError::NoAgent { .. })));

            let _server = serve(folder.path(), &Rc::new(Fake::default()));
            assert!(client.snapshot().await.is_ok());
            let holder = std::fs::read_to_string(folder.path().join("agent.lock")).unwrap();
            assert_eq!(holder, format!("{}\n", std::process::id()));
        })
        .await;
}

#[tokio::test]
async fn what_is_not_understood_changes_nothing() {
    LocalSet::new()
        .run_until(async {
            let folder = tempfile::tempdir().unwrap();
            let agent = Rc::new(Fake::default());
            let _server = serve(folder.path(), &agent);
            let long = "x".repeat(5000);
            for (request, status) in [
                ("GET /v1/nothing HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 404),
                ("GET /v1/reload HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
                ("POST /v1/snapshot HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 405),
                (post("{\"level\":\"loud\"}"), 400),
                (post("{\"level\":\"off\",\"now\":true}"), 400),
                (post(&long), 400),
            ] {
                let response = raw(folder.path(), &request).await;
                assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{response}");
                assert!(response.contains("{\"error\":\""), "{response}");
            }
            assert!(agent.asked.borrow().is_empty());
        })
        .await;
}

fn post(body: &str) -> String {
    format!("POST /v1/datapath-log HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn an_old_agent_gets_a_remedy_and_a_stranger_a_reason() {
    let client = Client::new(Path::new("/run/foobar"));
    let denied = client.unreachable(std::io::ErrorKind::PermissionDenied.into());
    assert!(denied.to_string().contains("as root or as a member of the group `foobar`"), "{denied}");
    let other = client.unreachable(std::io::Error::other("odd"));
    assert_eq!(other.to_string(), "cannot connect to the agent at /run/foobar/control.sock: odd");
}
