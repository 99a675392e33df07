//! Bodies on their way through: frames pass as they come, and a side that takes no more
//! holds the other back. A response that ends early is an error to hyper, which then breaks
//! off the client's connection or stream where a silent end would look complete.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::client::InFlight;
use super::local::LocalBackend;
use super::upstream::Upstream;

/// Why a body could not be carried to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The connection that it came on broke.
    #[error("the body broke off")]
    Broken(#[source] hyper::Error),
    /// The backend stopped sending.
    #[error("the backend sent nothing for too long")]
    Stalled,
}

/// How far a request body has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All of it is passed on, or there is none.
    Finished,
    /// Some was passed on since the last question.
    Moving,
    /// None was.
    Standing,
    /// The client broke it off.
    Failed,
}

/// A request body that the request path keeps an eye on while hyper sends it.
#[derive(Debug)]
pub(super) struct Upload {
    body: Incoming,
    progress: Progress,
}

/// What hyper's client is given to send.
#[derive(Debug)]
pub(super) struct RequestBody(Option<Rc<RefCell<Upload>>>);

impl RequestBody {
    /// An empty body costs nothing.
    pub(super) fn new(body: Incoming) -> Self {
        let is_empty = body.is_end_stream();
        let upload = Upload { body, progress: Progress::Standing };
        Self((!is_empty).then(|| Rc::new(RefCell::new(upload))))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// A second handle on the same body.
    pub(super) fn handle(&self) -> Self {
        Self(self.0.clone())
    }

    /// How far it has come; asking starts a new period.
    pub(super) fn progress(&self) -> Progress {
        let Some(upload) = &self.0 else { return Progress::Finished };
        let mut upload = upload.borrow_mut();
        let progress = upload.progress;
        if progress == Progress::Moving {
            upload.progress = Progress::Standing;
        }
        progress
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(upload) = &self.0 else { return Poll::Ready(None) };
        let mut upload = upload.borrow_mut();
        let frame = ready!(Pin::new(&mut upload.body).poll_frame(cx));
        upload.progress = match &frame {
            Some(Ok(_)) if upload.body.is_end_stream() => Progress::Finished,
            Some(Ok(_)) => Progress::Moving,
            Some(Err(_)) => Progress::Failed,
            None => Progress::Finished,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| upload.borrow().body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |upload| upload.borrow().body.size_hint())
    }
}

/// What hyper's server is given to send.
#[derive(Debug)]
pub(super) struct ResponseBody {
    source: Source,
    /// Ends with the body: the request is over when its response is.
    in_flight: InFlight,
}

#[derive(Debug)]
enum Source {
    /// Nothing (more) to send.
    Ended,
    /// A few words of our own.
    Own(Bytes),
    /// From a backend, over a connection that this body drives.
    Upstream { body: Incoming, upstream: Box<Upstream>, backend: Rc<LocalBackend>, waiting: bool },
    /// From a backend, over a connection with a task of its own.
    Detached(Incoming),
}

impl ResponseBody {
    /// Text of our own.
    pub(super) fn own(text: Bytes, in_flight: InFlight) -> Self {
        Self { source: if text.is_empty() { Source::Ended } else { Source::Own(text) }, in_flight }
    }

    /// What a backend sends. The connection goes back to its pool when the body has ended, at
    /// once if there is none.
    pub(super) fn upstream(
        body: Incoming,
        upstream: Box<Upstream>,
        backend: Rc<LocalBackend>,
        upload: Progress,
        in_flight: InFlight,
    ) -> Self {
        let source = if upload != Progress::Finished {
            // The client still sends. Whether it reads meanwhile is its affair: the upload must
            // not wait for it, and the connection is not used again.
            upstream.finish_alone();
            Source::Detached(body)
        } else if body.is_end_stream() {
            backend.put_back(upstream);
            Source::Ended
        } else {
            Source::Upstream { body, upstream, backend, waiting: false }
        };
        Self { source, in_flight }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.in_flight.client_takes();
        let frame = match &mut this.source {
            Source::Ended => return Poll::Ready(None),
            Source::Own(text) => Some(Ok(Frame::data(std::mem::take(text)))),
            Source::Detached(body) => ready!(Pin::new(body).poll_frame(cx)).map(broken),
            Source::Upstream { body, upstream, waiting, .. } => match upstream.poll_body(body, cx) {
                Poll::Ready(frame) => {
                    *waiting = false;
                    frame.map(broken)
                }
                Poll::Pending if !*waiting => {
                    *waiting = true;
                    upstream.expect_soon();
                    return Poll::Pending;
                }
                Poll::Pending if upstream.is_late() => Some(Err(BodyError::Stalled)),
                Poll::Pending => return Poll::Pending,
            },
        };
        this.in_flight.client_must_take();
        this.advance(frame.as_ref());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ended => true,
            Source::Own(_) => false,
            Source::Upstream { body, .. } | Source::Detached(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ended => SizeHint::with_exact(0),
            Source::Own(text) => SizeHint::with_exact(text.len() as u64),
            Source::Upstream { body, .. } | Source::Detached(body) => body.size_hint(),
        }
    }
}

fn broken(frame: Result<Frame<Bytes>, hyper::Error>) -> Result<Frame<Bytes>, BodyError> {
    frame.map_err(BodyError::Broken)
}

impl ResponseBody {
    /// After the last frame the connection is free for the next request; after an error it is closed.
    fn advance(&mut self, frame: Option<&Result<Frame<Bytes>, BodyError>>) {
        let ended = match (&self.source, frame) {
            (_, None | Some(Err(_))) | (Source::Own(_), _) => true,
            (Source::Upstream { body, .. } | Source::Detached(body), _) => body.is_end_stream(),
            (Source::Ended, _) => false,
        };
        if !ended {
            return;
        }
        let source = std::mem::replace(&mut self.source, Source::Ended);
        if let (Source::Upstream { upstream, backend, .. }, None | Some(Ok(_))) = (source, frame) {
            backend.put_back(upstream);
        }
    }
}
