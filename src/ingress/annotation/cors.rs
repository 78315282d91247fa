//! `enable-cors`, `cors-…`: which pages of other origins may use the routes (semantics.md 2.7, 3.9).
//!
//! A policy of which a part cannot be read is none: the default in its place would let in more
//! than was asked for.

use std::sync::Arc;

use crate::{
    diag::{Diag, Reason},
    ingress::{
        annotation::{Annotations, value},
        host,
    },
    model::{Cors, Origin},
};

const METHODS: &str = "GET,PUT,POST,DELETE,PATCH,OPTIONS";
const HEADERS: &str = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,\
                       Content-Type,Authorization";
/// In seconds; also the most, as the vendor has it.
const MAX_AGE: u32 = 172_800;
/// Origins that one policy may name.
const MAX_ORIGINS: usize = 50;

/// A policy as it is written; what is `None` is the vendor's default.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) origins: Option<String>,
    pub(super) methods: Option<String>,
    pub(super) headers: Option<String>,
    pub(super) exposed: Option<String>,
    pub(super) credentials: Option<bool>,
    pub(super) max_age: Option<u32>,
}

/// Reads them.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Option<Arc<Cors>> {
    if !annotations.flag("enable-cors", diags) {
        return None;
    }
    let before = diags.len();
    let text = |key| annotations.get(key).map(|entry| entry.value.to_owned());
    let written = Written {
        origins: text("cors-allow-origin"),
        methods: text("cors-allow-methods"),
        headers: text("cors-allow-headers"),
        exposed: text("cors-expose-headers"),
        credentials: annotations.read("cors-allow-credentials", value::boolean, diags),
        max_age: annotations.read("cors-max-age", max_age, diags),
    };
    let is_read = diags.len() == before;
    let enabled = annotations.get("enable-cors")?;
    match policy(&written) {
        Ok(cors) if is_read => Some(Arc::new(cors)),
        Ok(_) => {
            let message = "no other origin is allowed while a part of the policy cannot be read";
            diags.push(Diag::error(&enabled.at, Reason::InvalidAnnotation, message));
            None
        }
        Err(problem) => {
            let message = format!("{problem}; no other origin is allowed");
            diags.push(Diag::error(&enabled.at, Reason::InvalidAnnotation, message));
            None
        }
    }
}

/// Seconds.
pub(super) fn max_age(text: &str) -> Result<u32, String> {
    value::number(text, 0..=MAX_AGE)
}

/// # Errors
/// Says which part is wrong.
pub(super) fn policy(written: &Written) -> Result<Cors, String> {
    let or = |own: &Option<String>, default: &str| own.clone().unwrap_or_else(|| default.into());
    let origins: Result<Vec<_>, _> = list(&or(&written.origins, "*")).map(origin).collect();
    let origins = origins?;
    if origins.is_empty() || origins.len() > MAX_ORIGINS {
        return Err(format!("a policy has from 1 to {MAX_ORIGINS} origins"));
    }
    Ok(Cors {
        origins,
        methods: tokens(&or(&written.methods, METHODS), "method")?,
        headers: tokens(&or(&written.headers, HEADERS), "name of a header")?,
        exposed: tokens(&or(&written.exposed, ""), "name of a header")?,
        credentials: written.credentials.unwrap_or(true),
        max_age: written.max_age.unwrap_or(MAX_AGE),
    })
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Joined again, without what separates them.
fn tokens(text: &str, what: &str) -> Result<Arc<str>, String> {
    match list(text).find(|part| !value::is_token(part)) {
        Some(odd) => Err(format!("{} is not the {what}", value::quote(odd))),
        None => Ok(list(text).collect::<Vec<_>>().join(",").into()),
    }
}

/// `*`, `https://a.com`, `https://a.com:8443` or `https://*.a.com`.
fn origin(text: &str) -> Result<Origin, String> {
    if text == "*" {
        return Ok(Origin::Any);
    }
    let refused = || format!("{} is not an origin, as in `https://a.com`", value::quote(text));
    let scheme = ["http://", "https://"].into_iter().find(|scheme| text.starts_with(scheme));
    let scheme = scheme.ok_or_else(refused)?;
    let authority = text.strip_prefix(scheme).unwrap_or_default();
    let (name, port) = authority.split_once(':').map_or((authority, None), |(n, p)| (n, Some(p)));
    if port.is_some_and(|port| value::number::<u16>(port, 1..=u16::MAX).is_err()) {
        return Err(refused());
    }
    // Browsers send hosts in lower case.
    let authority = authority.to_ascii_lowercase();
    match authority.strip_prefix("*.") {
        Some(domain) if host::parse(&name.to_ascii_lowercase()).is_ok() => {
            Ok(Origin::Below { scheme: scheme.into(), domain: domain.into() })
        }
        // An address is the host of a page too.
        None if host::parse(name).is_ok() || name.parse::<std::net::Ipv4Addr>().is_ok() => {
            Ok(Origin::Exact(format!("{scheme}{authority}").into()))
        }
        Some(_) | None => Err(refused()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::annotation::with_alb;

    #[test]
    fn defaults_are_the_vendors() {
        let (cors, diags) = with_alb(&[("enable-cors", "true")], parse);
        let cors = cors.unwrap();
        assert_eq!(diags, Vec::<String>::new());
        assert_eq!((&cors.origins[..], &*cors.methods), (&[Origin::Any][..], METHODS));
        assert_eq!((cors.credentials, cors.max_age, &*cors.exposed), (true, 172_800, ""));
        let pairs = [("enable-cors", "false"), ("cors-allow-origin", "("), ("cors-max-age", "x")];
        assert_eq!(with_alb(&pairs, parse), (None, vec![]), "off asks for nothing");
    }

    #[test]
    fn origins() {
        let exact = |origin: &str| Ok(Origin::Exact(origin.into()));
        let below = |scheme: &str, domain: &str| {
            Ok(Origin::Below { scheme: scheme.into(), domain: domain.into() })
        };
        for (text, expect) in [
            ("*", Ok(Origin::Any)),
            ("https://a.com", exact("https://a.com")),
            ("https://A.com:8443", exact("https://a.com:8443")),
            ("http://10.0.0.1:80", exact("http://10.0.0.1:80")),
            ("http://*.foo.com", below("http://", "foo.com")),
            ("http://*.foo.com:81", below("http://", "foo.com:81")),
            ("a.com", Err(())),
            ("https://", Err(())),
            ("https://a.com/", Err(())),
            ("https://*", Err(())),
            ("https://a*.com", Err(())),
            ("https://a.com:0", Err(())),
            ("https://a.com:", Err(())),
            ("ftp://a.com", Err(())),
            ("https://a.com\r\nx: y", Err(())),
        ] {
            assert_eq!(origin(text).map_err(|_| ()), expect, "{text}");
        }
    }

    #[test]
    fn a_part_that_cannot_be_read_lets_nobody_in() {
        for (key, value) in [
            ("cors-allow-origin", "https://a.com, b"),
            ("cors-allow-origin", ","),
            ("cors-allow-methods", "GET POST"),
            ("cors-allow-headers", "a:b"),
            ("cors-expose-headers", "a\nb"),
            ("cors-allow-credentials", "on"),
            ("cors-max-age", "-1"),
            ("cors-max-age", "172801"),
        ] {
            let (cors, diags) = with_alb(&[("enable-cors", "true"), (key, value)], parse);
            assert_eq!(cors, None, "{key}: {value}");
            let last = diags.last().unwrap();
            assert!(last.starts_with("enable-cors: InvalidAnnotation: "), "{diags:?}");
        }
        let many = vec!["https://a.com"; MAX_ORIGINS + 1].join(",");
        let pairs = [("enable-cors", "true"), ("cors-allow-origin", &many)];
        assert_eq!(with_alb(&pairs, parse).0, None);
    }
}
