//! The agent's side of the control socket: from a request to a call of [`Agent`] and back.
//! Decides nothing itself.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::socket::ControlSocket;
use super::{Agent, DatapathLog, Refusal};
use crate::config::MAX_FILE_BYTES;
use crate::monitor::endpoint::{self, Answer, Limits, answer};
use crate::samples::Scope;

/// Only root and one group connect. A reload may read files of a million prefixes.
const LIMITS: Limits =
    Limits { connections: 32, head: Duration::from_secs(5), connection: Duration::from_mins(5) };
/// Nearly every body is a word.
const BODY_BYTES: usize = 4096;
/// A configuration as JSON: as it is, but for quotes and line feeds.
const DOCUMENT_BYTES: usize = 2 * MAX_FILE_BYTES;
const JSON: &str = "application/json";

/// A control socket that is being served. Dropped, it ends and removes the socket.
#[derive(Debug)]
pub struct Server {
    socket: ControlSocket,
    /// Dropped, it ends the listener.
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Serves the socket from now on. Must be called within a local task set.
    pub fn start<A: Agent + 'static>(mut socket: ControlSocket, agent: Rc<A>) -> Self {
        let (stop, stopped) = oneshot::channel();
        if let Some(listener) = socket.take_listener() {
            let handler = move |request| respond(Rc::clone(&agent), request);
            tokio::task::spawn_local(endpoint::serve(listener, LIMITS, stopped, handler));
        }
        Self { socket, _stop: stop }
    }

    /// The socket that is served.
    pub fn socket(&self) -> &ControlSocket {
        &self.socket
    }
}

/// Each with an end of line behind it.
const JSON_LINES: &str = "application/jsonl";

/// Before the name of a scope.
const WATCH: &str = "/v1/watch/";

async fn respond<A: Agent + 'static>(agent: Rc<A>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path();
    if let Some(scope) = path.strip_prefix(WATCH).filter(|_| *request.method() == Method::GET) {
        return watch(&*agent, scope);
    }
    let allowed = match request.uri().path() {
        "/v1/snapshot" | "/v1/generation" | "/v1/ruleset" => Method::GET,
        "/v1/reload" | "/v1/apply" | "/v1/confirm" | "/v1/rollback" | "/v1/detach" | "/v1/datapath-log" => {
            Method::POST
        }
        path => return refuse(StatusCode::NOT_FOUND, &format!("nothing is at {path}").into()),
    };
    if *request.method() != allowed {
        let mut refused = refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("only {allowed} here").into());
        if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
            refused.headers_mut().insert(ALLOW, allowed);
        }
        return refused;
    }
    match request.uri().path() {
        "/v1/snapshot" => reply(agent.snapshot().await.map_err(Refusal::from)),
        "/v1/generation" => reply(agent.in_force().await),
        "/v1/ruleset" => reply_at_length(agent.ruleset().await).await,
        "/v1/reload" => to_the_end(async move { agent.reload().await }).await,
        "/v1/confirm" => to_the_end(async move { agent.confirm().await }).await,
        "/v1/rollback" => to_the_end(async move { agent.roll_back().await }).await,
        "/v1/apply" => match body(request, DOCUMENT_BYTES).await {
            Ok(apply) => to_the_end(async move { agent.apply(apply).await }).await,
            Err(refusal) => refuse(StatusCode::BAD_REQUEST, &refusal),
        },
        "/v1/detach" => to_the_end(async move { agent.detach().await }).await,
        _ => match body(request, BODY_BYTES).await {
            Ok(DatapathLog { level }) => {
                let done = async move { agent.set_datapath_log(level).await };
                to_the_end(async move { done.await.map(|()| serde_json::json!({})) }).await
            }
            Err(refusal) => refuse(StatusCode::BAD_REQUEST, &refusal),
        },
    }
}

fn watch<A: Agent>(agent: &A, scope: &str) -> Answer {
    let Some(scope) = Scope::ALL.into_iter().find(|known| known.as_str() == scope) else {
        return refuse(StatusCode::NOT_FOUND, &format!("nothing like {scope} can be watched").into());
    };
    let watching = match agent.watch(scope) {
        Ok(watching) => watching,
        Err(refusal) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &refusal),
    };
    let lines = stream::unfold(watching, async |mut watching| {
        let mut line = serde_json::to_vec(&watching.next().await?).unwrap_or_default();
        line.push(b'\n');
        Some((Bytes::from(line), watching))
    });
    endpoint::lasting(JSON_LINES, lines)
}

/// Runs what changes the agent as a task of its own: a client that goes away must not stop it half-way.
async fn to_the_end<T, F>(action: F) -> Answer
where
    T: Serialize + 'static,
    F: Future<Output = Result<T, Refusal>> + 'static,
{
    match tokio::task::spawn_local(action).await {
        Ok(done) => reply(done),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("the agent failed: {error}").into()),
    }
}

async fn body<T: DeserializeOwned>(request: Request<Incoming>, limit: usize) -> Result<T, Refusal> {
    let body = Limited::new(request.into_body(), limit).collect().await;
    let body = body.map_err(|error| Refusal::from(format!("the body could not be read: {error}")))?;
    serde_json::from_slice(&body.to_bytes())
        .map_err(|error| Refusal::from(format!("the body is wrong: {error}")))
}

/// As [`reply`], written where nobody waits for it.
async fn reply_at_length<T: Serialize + Send + 'static>(done: Result<T, Refusal>) -> Answer {
    let written = match done {
        Ok(value) => tokio::task::spawn_blocking(move || serde_json::to_vec(&value)).await,
        Err(refusal) => return reply::<T>(Err(refusal)),
    };
    match written {
        Ok(body) => written_as(StatusCode::OK, body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("the agent failed: {error}").into()),
    }
}

fn reply<T: Serialize>(done: Result<T, Refusal>) -> Answer {
    match done {
        Ok(value) => json(StatusCode::OK, &value),
        Err(refusal) if !refusal.diagnostics.is_empty() => refuse(StatusCode::UNPROCESSABLE_ENTITY, &refusal),
        Err(refusal) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &refusal),
    }
}

fn refuse(status: StatusCode, refusal: &Refusal) -> Answer {
    json(status, refusal)
}

fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    written_as(status, serde_json::to_vec(value))
}

fn written_as(status: StatusCode, body: serde_json::Result<Vec<u8>>) -> Answer {
    match body {
        Ok(body) => answer(status, JSON, body),
        Err(error) => {
            tracing::error!(%error, "an answer of the control socket cannot be written as JSON");
            answer(StatusCode::INTERNAL_SERVER_ERROR, JSON, "{\"error\":\"the answer cannot be written\"}")
        }
    }
}
