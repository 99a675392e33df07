//! News of links and routes. Owns a netlink socket of its own, so that a storm of routes delays
//! no answer; says only that something may have changed, never what.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::NetError;

const GROUPS: [MulticastGroup; 3] =
    [MulticastGroup::Link, MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route];

/// After a socket that cannot be opened again.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// News of links and routes. Any number of them that nobody has waited for are one.
#[derive(Debug)]
pub struct Changes {
    news: Arc<Notify>,
    listener: AbortHandle,
}

impl Changes {
    /// Listens from now on. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the kernel gives no netlink socket.
    pub fn listen() -> Result<Self, NetError> {
        let first = open()?;
        let news = Arc::new(Notify::new());
        let listener = tokio::spawn(listen(first, Arc::clone(&news))).abort_handle();
        Ok(Self { news, listener })
    }

    /// Waits until links or routes may have changed since the last call.
    pub async fn next(&self) {
        self.news.notified().await;
    }
}

impl Drop for Changes {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

type Messages = futures_util::stream::BoxStream<'static, bool>;

/// A stream that says of each message whether it is news.
fn open() -> Result<Messages, NetError> {
    let (connection, _, messages) = rtnetlink::new_multicast_connection(&GROUPS)?;
    tokio::spawn(connection);
    Ok(messages.map(|(message, _)| is_news(&message.payload)).boxed())
}

/// Drains the socket whether or not somebody waits, and opens another where it ends.
async fn listen(mut messages: Messages, news: Arc<Notify>) {
    loop {
        while let Some(is_news) = messages.next().await {
            if is_news {
                news.notify_one();
            }
        }
        tracing::warn!("the netlink socket has ended; opening another");
        messages = loop {
            match open() {
                Ok(messages) => break messages,
                Err(error) => tracing::error!("{error}; interfaces that appear are found late"),
            }
            tokio::time::sleep(REOPEN_PAUSE).await;
        };
        // Whatever happened in between.
        news.notify_one();
    }
}

fn is_news(payload: &NetlinkPayload<RouteNetlinkMessage>) -> bool {
    match payload {
        // The kernel dropped messages because they came too fast.
        NetlinkPayload::Overrun(_) => true,
        NetlinkPayload::InnerMessage(message) => matches!(
            message,
            RouteNetlinkMessage::NewLink(_)
                | RouteNetlinkMessage::DelLink(_)
                | RouteNetlinkMessage::NewRoute(_)
                | RouteNetlinkMessage::DelRoute(_)
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_messages_are_news() {
        let link = rtnetlink::packet_route::link::LinkMessage::default();
        assert!(is_news(&NetlinkPayload::Overrun(Vec::new())));
        assert!(is_news(&NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))));
        assert!(!is_news(&NetlinkPayload::Noop));
    }
}
