//! Requests to an API server, and what their failures mean.
//!
//! Owns the limits on what a server may answer (faults.md A13) and the words under which failures
//! are reported. Must not know kinds. Cost: one answer in memory.

use std::{error::Error, fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::{Client, client::Body};
use serde::Deserialize;
use tokio::time::timeout;

use crate::source::decode::cut;

/// Longest answer: a page of EndpointSlices that are all full is 20 MiB.
pub(super) const MAX_ANSWER_BYTES: usize = 32 << 20;

/// Longest event of a watch: etcd takes objects of up to 1.5 MiB, and an event holds one.
pub(super) const MAX_EVENT_BYTES: usize = 8 << 20;

/// Longest answer that is only read for its message.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// What is wrong between us and an API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// No answer, or one that says to come again.
    Unreachable,
    /// 401: it does not know us.
    Unauthorized,
    /// 403: it knows us and does not let us.
    Forbidden,
    /// Its certificate is not the one that we were told to expect.
    TlsVerify,
    /// 404: it does not serve the kind.
    KindUnavailable,
    /// 410: the version that we ask for is gone.
    Expired,
    /// An answer that is not whole, or is no answer to what was asked.
    IncompleteList,
    /// More than we take.
    LimitExceeded,
    /// A member has more than one may have.
    QuotaExceeded,
}

impl Fault {
    /// Stable, UpperCamelCase; the word of `store::Health::Stale`.
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Fault::Unreachable => "Unreachable",
            Fault::Unauthorized => "Unauthorized",
            Fault::Forbidden => "Forbidden",
            Fault::TlsVerify => "TlsVerify",
            Fault::KindUnavailable => "KindUnavailable",
            Fault::Expired => "Expired",
            Fault::IncompleteList => "IncompleteList",
            Fault::LimitExceeded => "LimitExceeded",
            Fault::QuotaExceeded => "QuotaExceeded",
        }
    }

    /// Whether somebody decided this, so that it does not pass by waiting.
    pub(super) fn is_refusal(self) -> bool {
        match self {
            Fault::Unauthorized
            | Fault::Forbidden
            | Fault::TlsVerify
            | Fault::KindUnavailable
            | Fault::LimitExceeded
            | Fault::QuotaExceeded => true,
            Fault::Unreachable | Fault::Expired | Fault::IncompleteList => false,
        }
    }
}

/// A fault, and what people should know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) fault: Fault,
    pub(super) message: String,
}

impl Trouble {
    pub(super) fn new(fault: Fault, message: impl Into<String>) -> Trouble {
        Trouble { fault, message: message.into() }
    }

    pub(super) fn reason(&self) -> &'static str {
        self.fault.reason()
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason(), self.message)
    }
}

/// A request that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) trouble: Trouble,
    /// How long the server asks us to stay away.
    pub(super) retry_after: Option<Duration>,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        Failure { trouble, retry_after: None }
    }
}

/// The whole answer, if it comes within `limit`.
pub(super) async fn fetch(
    client: &Client,
    request: Request<Vec<u8>>,
    limit: Duration,
) -> Result<Bytes, Failure> {
    let answer = async { read(send(client, request).await?, MAX_ANSWER_BYTES).await };
    timeout(limit, answer).await.unwrap_or_else(|_| Err(silence(limit)))
}

/// The answer's events, if it begins within `limit`.
pub(super) async fn open(
    client: &Client,
    request: Request<Vec<u8>>,
    limit: Duration,
) -> Result<Lines, Failure> {
    let answer = timeout(limit, send(client, request)).await;
    let body = answer.unwrap_or_else(|_| Err(silence(limit)))?;
    Ok(Lines { body, buffer: BytesMut::new(), searched: 0 })
}

async fn send(client: &Client, request: Request<Vec<u8>>) -> Result<Body, Failure> {
    let answer = client.send(request.map(Body::from)).await.map_err(|err| broken(&err))?;
    let (head, body) = Response::into_parts(answer);
    if head.status.is_success() {
        return Ok(body);
    }
    // Whatever it says, the code is what counts.
    let content = read(body, MAX_ERROR_BYTES).await.unwrap_or_default();
    let said = serde_json::from_slice(&content).unwrap_or_default();
    let trouble = Said { code: head.status.as_u16(), ..said }.trouble();
    Err(Failure { trouble, retry_after: retry_after(&head.headers) })
}

async fn read(body: Body, max: usize) -> Result<Bytes, Failure> {
    match Limited::new(body, max).collect().await {
        Ok(content) => Ok(content.to_bytes()),
        Err(err) if err.is::<LengthLimitError>() => {
            let message = format!("an answer is longer than {max} bytes");
            Err(Trouble::new(Fault::LimitExceeded, message).into())
        }
        Err(err) => Err(broken(err.as_ref())),
    }
}

/// Seconds; the other form, a date, is not used by API servers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn silence(limit: Duration) -> Failure {
    Trouble::new(Fault::Unreachable, format!("no answer within {limit:?}")).into()
}

fn broken(err: &(dyn Error + 'static)) -> Failure {
    let fault = if is_distrust(err) { Fault::TlsVerify } else { Fault::Unreachable };
    Trouble::new(fault, cut(&causes(err))).into()
}

/// What the error says, and what each error behind it adds.
fn causes(err: &(dyn Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(cause) = next {
        let own = cause.to_string();
        if !text.contains(&own) {
            text = format!("{text}: {own}");
        }
        next = cause.source();
    }
    text
}

/// Whether somewhere behind the error we refused the server's certificate.
fn is_distrust(err: &(dyn Error + 'static)) -> bool {
    // What an `io::Error` was made from is not its source.
    let inner = err.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let inner = inner.map(|inner| inner as &(dyn Error + 'static));
    matches!(
        err.downcast_ref(),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    ) || inner.is_some_and(is_distrust)
        || err.source().is_some_and(is_distrust)
}

/// What a `Status` says, with whatever of it is there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Said {
    code: u16,
    reason: String,
    message: String,
}

impl Said {
    /// Proxies have been seen to leave out one of code and reason.
    pub(super) fn trouble(&self) -> Trouble {
        let Said { code, reason, message } = self;
        let fault = match (*code, reason.as_str()) {
            (410, _) | (_, "Expired" | "Gone") => Fault::Expired,
            (401, _) => Fault::Unauthorized,
            (403, _) => Fault::Forbidden,
            (404, _) => Fault::KindUnavailable,
            (_another_code, _) => Fault::Unreachable,
        };
        let known = StatusCode::from_u16(*code).ok().and_then(|own| own.canonical_reason());
        let message = match (message.as_str(), reason.as_str(), known) {
            ("", "", Some(known)) => format!("answered {code} {known}"),
            ("", reason, _) => format!("answered {code} {reason}"),
            (message, ..) => format!("answered {code}: {}", cut(message)),
        };
        Trouble { fault, message }
    }
}

/// The lines of an answer that goes on.
pub(super) struct Lines {
    body: Body,
    buffer: BytesMut,
    /// So many bytes of the buffer hold no end of a line.
    searched: usize,
}

impl Lines {
    /// The next whole line; `None` at the end. A line that was cut off is none. Nothing is lost
    /// if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let rest = self.buffer.get(self.searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(line.freeze()));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_EVENT_BYTES {
                let message = format!("an event is longer than {MAX_EVENT_BYTES} bytes");
                return Err(Trouble::new(Fault::LimitExceeded, message).into());
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    self.buffer.extend_from_slice(&frame.into_data().unwrap_or_default());
                }
                Some(Err(err)) => return Err(broken(&err)),
                None => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_an_error_is_called_by_its_name() {
        let check = |code: u16, reason: &str, expect: Fault| {
            let said = Said { code, reason: reason.into(), message: "no".into() };
            assert_eq!(said.trouble().fault, expect, "{code} {reason}");
        };
        check(410, "Expired", Fault::Expired);
        check(410, "Gone", Fault::Expired);
        check(410, "", Fault::Expired);
        check(500, "Expired", Fault::Expired);
        check(0, "Gone", Fault::Expired);
        check(401, "Unauthorized", Fault::Unauthorized);
        check(403, "Forbidden", Fault::Forbidden);
        check(404, "NotFound", Fault::KindUnavailable);
        check(429, "TooManyRequests", Fault::Unreachable);
        check(500, "InternalError", Fault::Unreachable);
        check(504, "Timeout", Fault::Unreachable);
    }

    #[test]
    fn fault_a06_a_certificate_that_is_not_trusted_is_found_behind_other_errors() {
        let distrust = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let wrapped = std::io::Error::other(std::io::Error::other(distrust.clone()));
        assert_eq!(broken(&wrapped).trouble.fault, Fault::TlsVerify);
        assert_eq!(broken(&distrust).trouble.fault, Fault::TlsVerify);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(broken(&refused).trouble.fault, Fault::Unreachable);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::InternalError);
        assert_eq!(broken(&std::io::Error::other(alert)).trouble.fault, Fault::Unreachable);
    }
}
