//! The monitoring endpoint over HTTP: `/metrics`, `/healthz` and a page that leads there. Reads
//! only; what changes the agent goes over the control socket.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{Method, StatusCode};
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Source;
use super::collector::{Exposition, TEXT_FORMAT};
use super::endpoint::{self, Answer, Limits, answer};
use super::listeners::{BindError, bind};

/// A scraper uses one connection for milliseconds; a browser a few.
pub(super) const LIMITS: Limits =
    Limits { connections: 64, head: Duration::from_secs(5), connection: Duration::from_secs(15) };

const PLAIN: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const LANDING_PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>foobar</title></head>\n",
    "<body>\n<h1>foobar ",
    env!("CARGO_PKG_VERSION"),
    "</h1>\n<ul>\n",
    "<li><a href=\"/metrics\">/metrics</a>: everything this host's agent counts, for Prometheus</li>\n",
    "<li><a href=\"/healthz\">/healthz</a>: whether the agent answers</li>\n",
    "</ul>\n</body>\n</html>\n"
);

/// The monitoring endpoint. Its listeners can be replaced while it serves.
pub struct Server<S> {
    shared: Rc<Shared<S>>,
    /// By the address that the configuration names.
    serving: RefCell<BTreeMap<SocketAddr, Serving>>,
}

struct Shared<S> {
    source: Rc<S>,
    exposition: Exposition,
}

struct Serving {
    listener: Rc<TcpListener>,
    /// Dropped, it ends the listener.
    _stop: oneshot::Sender<()>,
}

/// Listeners for a set of addresses, bound and not yet served: the part of a change that can
/// fail. Dropped, it changes nothing.
#[derive(Debug)]
pub struct Prepared {
    /// A listener for what was not listened on before; `None` keeps the one that is there.
    wanted: BTreeMap<SocketAddr, Option<TcpListener>>,
}

impl<S: Source + 'static> Server<S> {
    /// An endpoint that listens nowhere yet.
    ///
    /// # Errors
    /// Where the registry already holds a family of the agent.
    pub fn new(source: Rc<S>, registry: Registry) -> prometheus::Result<Self> {
        let exposition = Exposition::new(registry)?;
        Ok(Self { shared: Rc::new(Shared { source, exposition }), serving: RefCell::default() })
    }

    /// Binds what is not yet listened on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Where an address cannot be bound; then none is.
    pub fn prepare(&self, addresses: &[SocketAddr]) -> Result<Prepared, BindError> {
        let serving = self.serving.borrow();
        let mut wanted = BTreeMap::new();
        for &address in addresses {
            let listener = if serving.contains_key(&address) {
                None
            } else {
                Some(bind(address, serving.values().map(|held| held.listener.as_ref()))?)
            };
            wanted.insert(address, listener);
        }
        Ok(Prepared { wanted })
    }

    /// Serves exactly the prepared addresses; connections on others end by themselves. Must be
    /// called within a local task set.
    pub fn commit(&self, prepared: Prepared) {
        let mut serving = self.serving.borrow_mut();
        serving.retain(|address, _| prepared.wanted.contains_key(address));
        for (address, listener) in prepared.wanted {
            if let Some(listener) = listener {
                serving.insert(address, self.start(listener));
            }
        }
    }

    /// The addresses that are listened on, with the ports that the kernel chose for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.serving.borrow().values().filter_map(|held| held.listener.local_addr().ok()).collect()
    }

    fn start(&self, listener: TcpListener) -> Serving {
        let listener = Rc::new(listener);
        let (stop, stopped) = oneshot::channel();
        let shared = Rc::clone(&self.shared);
        let handler = move |request: http::Request<hyper::body::Incoming>| {
            let shared = Rc::clone(&shared);
            async move { shared.respond(request.method(), request.uri().path()).await }
        };
        tokio::task::spawn_local(endpoint::serve(Rc::clone(&listener), LIMITS, stopped, handler));
        Serving { listener, _stop: stop }
    }
}

impl<S: Source> Shared<S> {
    async fn respond(&self, method: &Method, path: &str) -> Answer {
        if !matches!(path, "/" | "/metrics" | "/healthz") {
            return answer(StatusCode::NOT_FOUND, PLAIN, "there are / /metrics /healthz\n");
        }
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut refused = answer(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match path {
            "/metrics" => self.metrics().await,
            "/healthz" => answer(StatusCode::OK, PLAIN, "ok\n"),
            _ => answer(StatusCode::OK, HTML, LANDING_PAGE),
        }
    }

    async fn metrics(&self) -> Answer {
        let rendered = match self.source.snapshot().await {
            Ok(snapshot) => self.exposition.render(snapshot).map_err(anyhow::Error::from),
            Err(error) => Err(error),
        };
        match rendered {
            Ok(text) => answer(StatusCode::OK, TEXT_FORMAT, text),
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "cannot render the metrics");
                answer(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    PLAIN,
                    "the counters could not be read; see the log\n",
                )
            }
        }
    }
}
