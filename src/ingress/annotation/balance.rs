//! `backend-scheduler`, `sticky-session`, `cookie`: which endpoint a request goes to
//! (semantics.md 2.7).

use std::time::Duration;

use crate::{
    diag::{Diag, Reason},
    ingress::annotation::{Annotations, value},
    model::{Balance, HashKey},
};

/// The cookie that keeps a client where it is, where the gateway gives it.
const COOKIE: &str = "SERVERID";
/// How long it lives, in seconds, and the bounds of what may be said instead; the vendor's.
const COOKIE_TIMEOUT: u32 = 1000;
const COOKIE_TIMEOUTS: std::ops::RangeInclusive<u32> = 1..=86_400;

/// Reads them. A session beats the scheduler.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Balance {
    let scheduler = scheduler(annotations, diags);
    session(annotations, diags).map_or(scheduler, Balance::Hash)
}

fn scheduler(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Balance {
    let key = |text: &str| match value::is_query_name(text) {
        true => Ok(HashKey::Query(text.into())),
        false => Err(format!("{} is not the name of a query parameter", value::quote(text))),
    };
    let parameter = annotations.read("backend-scheduler-uch-value", key, diags);
    let scheduler = |text: &str| match (text, parameter) {
        ("wrr", _) => Ok(Balance::RoundRobin),
        ("wlc", _) => Ok(Balance::LeastRequest),
        ("sch", _) => Ok(Balance::Hash(HashKey::SourceAddress)),
        ("uch", Some(key)) => Ok(Balance::Hash(key)),
        ("uch", None) => Err("uch needs backend-scheduler-uch-value".into()),
        (other, _) => Err(format!("{} is none of wrr, wlc, sch and uch", value::quote(other))),
    };
    annotations.read("backend-scheduler", scheduler, diags).unwrap_or_default()
}

fn session(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Option<HashKey> {
    if !annotations.flag("sticky-session", diags) {
        return None;
    }
    let is_server = |text: &str| match text {
        "Insert" => Ok(false),
        "Server" => Ok(true),
        other => Err(format!("{} is neither Insert nor Server", value::quote(other))),
    };
    if annotations.read("sticky-session-type", is_server, diags).unwrap_or(false) {
        return given_by_the_backend(annotations, diags);
    }
    let timeout = |text: &str| value::number(text, COOKIE_TIMEOUTS);
    let seconds = annotations.read("cookie-timeout", timeout, diags).unwrap_or(COOKIE_TIMEOUT);
    let ttl = Some(Duration::from_secs(seconds.into()));
    Some(HashKey::Cookie { name: COOKIE.into(), ttl })
}

fn given_by_the_backend(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Option<HashKey> {
    let name = |text: &str| match value::is_token(text) {
        true => Ok(HashKey::Cookie { name: text.into(), ttl: None }),
        false => Err(format!("{} is not the name of a cookie", value::quote(text))),
    };
    let key = annotations.read("cookie", name, diags);
    if key.is_none() {
        let at = annotations.get("sticky-session")?.at;
        let message = "type Server needs the name of the backend's cookie in `cookie`; requests \
                       are not kept together";
        diags.push(Diag::warning(&at, Reason::InvalidAnnotation, message));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with_alb;

    #[test]
    fn balances() {
        let cookie = |name: &str, ttl: Option<u64>| {
            let ttl = ttl.map(Duration::from_secs);
            Balance::Hash(HashKey::Cookie { name: name.into(), ttl })
        };
        let sticky = ("sticky-session", "true");
        let server = ("sticky-session-type", "Server");
        for (pairs, expect, n_diags) in [
            (&[][..], Balance::RoundRobin, 0),
            (&[("backend-scheduler", "wrr")], Balance::RoundRobin, 0),
            (&[("backend-scheduler", "wlc")], Balance::LeastRequest, 0),
            (&[("backend-scheduler", "sch")], Balance::Hash(HashKey::SourceAddress), 0),
            (
                &[("backend-scheduler", "uch"), ("backend-scheduler-uch-value", "user")],
                Balance::Hash(HashKey::Query("user".into())),
                0,
            ),
            (&[("backend-scheduler", "uch")], Balance::RoundRobin, 1),
            (
                &[("backend-scheduler", "uch"), ("backend-scheduler-uch-value", "a=b")],
                Balance::RoundRobin,
                2,
            ),
            (&[("backend-scheduler", "random")], Balance::RoundRobin, 1),
            (&[sticky], cookie("SERVERID", Some(1000)), 0),
            (&[sticky, ("backend-scheduler", "wlc")], cookie("SERVERID", Some(1000)), 0),
            (&[sticky, ("cookie-timeout", "60")], cookie("SERVERID", Some(60)), 0),
            (&[sticky, ("cookie-timeout", "0")], cookie("SERVERID", Some(1000)), 1),
            (&[sticky, ("sticky-session-type", "x")], cookie("SERVERID", Some(1000)), 1),
            (&[sticky, server, ("cookie", "sid")], cookie("sid", None), 0),
            (&[sticky, server], Balance::RoundRobin, 1),
            (&[sticky, server, ("cookie", "a b")], Balance::RoundRobin, 2),
            (&[("sticky-session", "false"), server], Balance::RoundRobin, 0),
        ] {
            let (balance, diags) = with_alb(pairs, parse);
            assert_eq!((balance, diags.len()), (expect, n_diags), "{pairs:?}: {diags:?}");
        }
    }
}
