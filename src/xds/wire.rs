//! Responses as bytes: shared entries, and a rest of a few bytes for each stream.
//!
//! Owns framing and the decoding of requests. Must not know subscriptions. Cost: one copy of the
//! entries into a buffer that lives until it is sent; no message is encoded for a stream but the
//! rest (xds.md 3.12, L1).

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{BufMut, Bytes, BytesMut};
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use http::HeaderMap;
use hyper::body::{self, Body};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder},
};

use crate::snapshot::{Kind, Resource, Version};

/// A byte that says whether it is compressed, and a length of four.
const GRPC_PREFIX_LEN: usize = 5;

/// One response. Protobuf accepts fields in any order, so what differs between streams stands
/// after what they share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    entries: Vec<Bytes>,
    rest: Bytes,
}

impl Frame {
    /// A `DiscoveryResponse`.
    pub(crate) fn sotw(
        kind: Kind,
        nonce: u64,
        version: Version,
        resources: &[Arc<Resource>],
    ) -> Frame {
        let rest = DiscoveryResponse {
            version_info: version.to_string(),
            type_url: kind.type_url().into(),
            nonce: nonce.to_string(),
            ..Default::default()
        };
        let entries = resources.iter().map(|resource| resource.sotw_entry()).collect();
        Frame { entries, rest: rest.encode_to_vec().into() }
    }

    /// A `DeltaDiscoveryResponse`.
    pub(crate) fn delta(
        kind: Kind,
        nonce: u64,
        resources: &[Arc<Resource>],
        removed: &[Arc<str>],
    ) -> Frame {
        let rest = DeltaDiscoveryResponse {
            type_url: kind.type_url().into(),
            nonce: nonce.to_string(),
            removed_resources: removed.iter().map(|name| name.to_string()).collect(),
            ..Default::default()
        };
        let entries = resources.iter().map(|resource| resource.delta_entry()).collect();
        Frame { entries, rest: rest.encode_to_vec().into() }
    }

    /// Bytes of the encoded message.
    pub(crate) fn encoded_len(&self) -> usize {
        self.rest.len() + self.entries.iter().map(Bytes::len).sum::<usize>()
    }

    /// A gRPC message: not compressed, and its length in front.
    fn to_grpc(&self) -> Bytes {
        let len = self.encoded_len();
        let mut buf = BytesMut::with_capacity(GRPC_PREFIX_LEN + len);
        buf.put_u8(0);
        buf.put_u32(u32::try_from(len).expect("invariant: a gateway is far smaller than 4 GB"));
        self.copy_to(&mut buf);
        buf.freeze()
    }

    pub(crate) fn copy_to(&self, buf: &mut impl BufMut) {
        for entry in &self.entries {
            buf.put_slice(entry);
        }
        buf.put_slice(&self.rest);
    }
}

/// Decodes requests of type `M`.
#[derive(Debug)]
pub(crate) struct RequestDecoder<M>(PhantomData<fn() -> M>);

impl<M> RequestDecoder<M> {
    pub(crate) fn new() -> RequestDecoder<M> {
        RequestDecoder(PhantomData)
    }
}

impl<M: Message + Default> Decoder for RequestDecoder<M> {
    type Item = M;
    type Error = Status;

    fn decode(&mut self, buf: &mut DecodeBuf<'_>) -> Result<Option<M>, Status> {
        let refuse = |error| Status::invalid_argument(format!("decode a request: {error}"));
        M::decode(buf).map(Some).map_err(refuse)
    }
}

/// The body of a stream of responses.
///
/// tonic's own keeps one buffer a stream, which stays as large as the largest response was: with
/// a thousand Envoys that is gigabytes of nothing. Here each message has a buffer of its own that
/// goes when it is sent.
#[derive(Debug)]
pub(crate) struct Responses {
    frames: mpsc::Receiver<Result<Frame, Status>>,
    ended: bool,
}

impl Responses {
    /// A body of what `frames` gives; it ends with the channel or with the first error.
    pub(crate) fn new(frames: mpsc::Receiver<Result<Frame, Status>>) -> Responses {
        Responses { frames, ended: false }
    }
}

impl Body for Responses {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<body::Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let end = match ready!(self.frames.poll_recv(cx)) {
            Some(Ok(frame)) => return Poll::Ready(Some(Ok(body::Frame::data(frame.to_grpc())))),
            Some(Err(status)) => status,
            None => Status::ok(""),
        };
        self.ended = true;
        let mut trailers = HeaderMap::new();
        let trailers = end.add_header(&mut trailers).map(|()| body::Frame::trailers(trailers));
        Poll::Ready(Some(trailers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources() -> Vec<Arc<Resource>> {
        let resource = |name: &str| {
            Arc::new(Resource::new(Kind::Endpoint, name.into(), name.as_bytes(), vec![]))
        };
        vec![resource("a"), resource("b")]
    }

    fn bytes(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.copy_to(&mut bytes);
        assert_eq!(bytes.len(), frame.encoded_len());
        bytes
    }

    #[test]
    fn a_delta_frame_is_a_delta_discovery_response() {
        let frame = Frame::delta(Kind::Endpoint, 7, &resources(), &["gone".into()]);
        let response = DeltaDiscoveryResponse::decode(&*bytes(&frame)).unwrap();
        let names: Vec<_> = response.resources.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(response.type_url, Kind::Endpoint.type_url());
        assert_eq!(response.nonce, "7");
        assert_eq!(response.removed_resources, ["gone"]);
    }

    #[test]
    fn a_sotw_frame_is_a_discovery_response() {
        let version = Version::of(b"all");
        let frame = Frame::sotw(Kind::Endpoint, 7, version, &resources());
        let response = DiscoveryResponse::decode(&*bytes(&frame)).unwrap();
        let messages: Vec<_> = response.resources.iter().map(|any| &*any.value).collect();
        assert_eq!(messages, [b"a", b"b"]);
        assert_eq!(response.version_info, version.to_string());
        assert_eq!(response.type_url, Kind::Endpoint.type_url());
        assert_eq!(response.nonce, "7");
    }
}
