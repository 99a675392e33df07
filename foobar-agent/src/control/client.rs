//! The asking side of the control socket. Used by the CLI; never retries, because what changes
//! the agent must not happen twice.

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::{
    ApplyReport, ApplyRequest, ConfirmReport, DatapathLog, DetachReport, InForce, Refusal, ReloadReport,
    RollbackReport, RulesetInForce, SOCKET_NAME,
};
use crate::kernel::LogLevel;
use crate::monitor::snapshot::Snapshot;
use crate::samples::{Line, Scope};

/// An agent that does not read its counters in this time is stuck.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// A reload may read files of a million prefixes.
const ACT_TIMEOUT: Duration = Duration::from_mins(5);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "no agent runs here (looked at {})\n  hint: start it with `foobar-agent run`; where several run on \
         one machine, say which one: --run-dir is the folder of its control socket",
        path.display()
    )]
    NoAgent {
        /// The socket's path.
        path: PathBuf,
    },
    /// The socket's permissions.
    #[error(
        "not allowed to talk to the agent at {}\n  hint: run this as root or as a member of the group `foobar`",
        path.display()
    )]
    Denied {
        /// The socket's path.
        path: PathBuf,
    },
    /// Another trouble of the socket.
    #[error("cannot connect to the agent at {}: {source}", path.display())]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("the agent did not finish its answer: {0}")]
    Exchange(#[from] hyper::Error),
    /// The agent is silent.
    #[error("the agent did not answer within {} s; its log may say why", .0.as_secs())]
    Silent(Duration),
    /// The answer is not what this version expects.
    #[error(
        "the agent's answer cannot be understood: {source}\n  hint: use the `foobar-agent` of the version that \
         runs"
    )]
    Answer {
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The agent did not do it.
    #[error(transparent)]
    Refused(Refusal),
}

/// Asks the agent of one `run_dir`.
#[derive(Clone, Debug)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// For the agent whose configuration names this `run_dir`.
    pub fn new(run_dir: &Path) -> Self {
        Self { path: run_dir.join(SOCKET_NAME) }
    }

    /// What can be seen of the agent.
    ///
    /// # Errors
    /// See [`ClientError`]; likewise below.
    pub async fn snapshot(&self) -> Result<Snapshot, ClientError> {
        self.ask(Method::GET, "/v1/snapshot", &(), LOOK_TIMEOUT).await
    }

    /// The rules that judge packets now.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where none do.
    pub async fn in_force(&self) -> Result<InForce, ClientError> {
        self.ask(Method::GET, "/v1/generation", &(), LOOK_TIMEOUT).await
    }

    /// The rules that judge packets now, with all that they say.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where none do.
    pub async fn ruleset(&self) -> Result<RulesetInForce, ClientError> {
        self.ask(Method::GET, "/v1/ruleset", &(), ACT_TIMEOUT).await
    }

    /// Takes the configuration anew.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the agent keeps what it has.
    pub async fn reload(&self) -> Result<ReloadReport, ClientError> {
        self.ask(Method::POST, "/v1/reload", &(), ACT_TIMEOUT).await
    }

    /// Puts a configuration in force.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where the agent keeps what it has.
    pub async fn apply(&self, request: &ApplyRequest) -> Result<ApplyReport, ClientError> {
        self.ask(Method::POST, "/v1/apply", request, ACT_TIMEOUT).await
    }

    /// Keeps what is on trial.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where nothing is, or no longer.
    pub async fn confirm(&self) -> Result<ConfirmReport, ClientError> {
        self.ask(Method::POST, "/v1/confirm", &(), ACT_TIMEOUT).await
    }

    /// Goes back to what was in force before.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where nothing was.
    pub async fn roll_back(&self) -> Result<RollbackReport, ClientError> {
        self.ask(Method::POST, "/v1/rollback", &(), ACT_TIMEOUT).await
    }

    /// Removes the datapath.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where it could not be removed.
    pub async fn detach(&self) -> Result<DetachReport, ClientError> {
        self.ask(Method::POST, "/v1/detach", &(), ACT_TIMEOUT).await
    }

    /// How much the datapath says in the agent's log.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where there is no datapath.
    pub async fn set_datapath_log(&self, level: LogLevel) -> Result<(), ClientError> {
        let body = DatapathLog { level };
        let done: serde_json::Value = self.ask(Method::POST, "/v1/datapath-log", &body, ACT_TIMEOUT).await?;
        drop(done);
        Ok(())
    }

    /// Watches packets, until the callback has seen enough or the agent ends.
    ///
    /// # Errors
    /// As for the others; an agent that ends is none.
    pub async fn watch(
        &self,
        scope: Scope,
        mut each: impl FnMut(Line) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        let path = match scope {
            Scope::Logged => "/v1/watch/logged",
            Scope::Refused => "/v1/watch/refused",
            Scope::All => "/v1/watch/all",
        };
        let (mut sender, connection) = self.connect().await?;
        // It ends with this function: what is not read any more is not sent for.
        let connection = pin!(connection);
        let read = async {
            let response = sender.send_request(request(Method::GET, path, Bytes::new())).await?;
            let (status, mut body) = (response.status(), response.into_body());
            if status != StatusCode::OK {
                let body = body.collect().await?.to_bytes();
                let refusal =
                    serde_json::from_slice(&body).map_err(|source| ClientError::Answer { source })?;
                return Err(ClientError::Refused(refusal));
            }
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return Ok(()) };
                rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line = serde_json::from_slice(&rest[..end]);
                    let line = line.map_err(|source| ClientError::Answer { source })?;
                    rest.drain(..=end);
                    if each(line).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        };
        let mut read = pin!(read);
        tokio::select! {
            biased;
            done = &mut read => return done,
            _ = connection => {}
        }
        read.await
    }

    async fn ask<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &'static str,
        body: &B,
        timeout: Duration,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(|source| ClientError::Answer { source })?;
        let exchange = self.exchange(method, path, body.into());
        let (status, body) =
            tokio::time::timeout(timeout, exchange).await.map_err(|_| ClientError::Silent(timeout))??;
        if status == StatusCode::OK {
            return serde_json::from_slice(&body).map_err(|source| ClientError::Answer { source });
        }
        let refusal = serde_json::from_slice(&body).map_err(|source| ClientError::Answer { source })?;
        Err(ClientError::Refused(refusal))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &'static str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        let (mut sender, connection) = self.connect().await?;
        let exchange = async {
            let response = sender.send_request(request(method, path, body)).await?;
            let status = response.status();
            Ok::<_, hyper::Error>((status, response.into_body().collect().await?.to_bytes()))
        };
        // The connection must be driven while the answer is awaited; how it ends after that is no matter.
        let mut exchange = std::pin::pin!(exchange);
        let driven = tokio::select! {
            biased;
            answer = &mut exchange => Some(answer?),
            _ = connection => None,
        };
        match driven {
            Some(answer) => Ok(answer),
            None => Ok(exchange.await?),
        }
    }

    async fn connect(
        &self,
    ) -> Result<
        (http1::SendRequest<Full<Bytes>>, http1::Connection<TokioIo<UnixStream>, Full<Bytes>>),
        ClientError,
    > {
        let stream = UnixStream::connect(&self.path).await.map_err(|source| self.unreachable(source))?;
        Ok(http1::handshake(TokioIo::new(stream)).await?)
    }

    pub(super) fn unreachable(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoAgent { path },
            io::ErrorKind::PermissionDenied => ClientError::Denied { path },
            _ => ClientError::Connect { path, source },
        }
    }
}

fn request(method: Method, path: &'static str, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_static(path);
    // HTTP/1.1 requires the field; a unix socket has no name to put there (RFC 9112, 3.2).
    request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("agent"));
    request
}
