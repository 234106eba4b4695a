//! Bodies between hyper and the doors.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use funaya_oci::Content;
use funaya_registry::{Body, BodyError, Error};
use futures_util::stream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// A client that sends nothing for so long is given up.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A request's body as a stream of its bytes.
pub(crate) fn incoming(body: Incoming) -> Body {
    Box::pin(stream::unfold(Some(body), |body| async {
        let mut body = body?;
        loop {
            return match tokio::time::timeout(IDLE_MAX, body.frame()).await {
                Ok(None) => None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Some((Ok(bytes), Some(body))),
                    // Trailers say nothing that we use.
                    Err(_) => continue,
                },
                Ok(Some(Err(_))) | Err(_) => Some((Err(BodyError), None)),
            };
        }
    }))
}

/// An answer's body.
pub(crate) struct Outgoing(Content);

impl From<Content> for Outgoing {
    fn from(content: Content) -> Self {
        Self(content)
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Content::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Content::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Content::Pieces(pieces) => pieces.as_mut().poll_next(cx).map(|piece| {
                piece.map(|piece| {
                    piece.map(Frame::data).inspect_err(|error| tracing::error!(%error, "an answer was cut off"))
                })
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Content::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // The header says how many.
            Content::Pieces(_) => SizeHint::default(),
        }
    }
}
