//! `actions.<service>`: what happens to the requests of a rule.

use std::sync::Arc;

use super::json::{self, Element, Fields};
use crate::{
    ingress::{
        annotation::{cors, rate_limit, value},
        host,
    },
    key::PortRef,
    model::{
        Answer, Filters, HeaderEdit, HeaderValue, Host, NewPath, Redirect, RedirectCode, Scheme,
    },
};

/// Bytes of what a redirect or a header may hold.
const MAX_TEXT: usize = 1024;

/// Headers that Envoy, or a rule of HTTP, keeps to itself.
const RESERVED: [&str; 10] = [
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What such names begin with: they tell Envoy, or backends, what the gateway knows.
const RESERVED_PREFIXES: [&str; 3] = ["x-envoy-", "x-convoy-", "x-forwarded-"];

/// In the order in which they are taken: a limit, what is done on the way, the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::ingress) struct Actions {
    /// On the way.
    pub(in crate::ingress) filters: Filters,
    /// Where it ends; `None` leaves it to the backend of the rule.
    pub(in crate::ingress) last: Option<Final>,
}

/// Where a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ingress) enum Final {
    /// In shares of several Services; never empty.
    Groups(Vec<Group>),
    /// At another URL.
    Redirect(Redirect),
    /// Here.
    Answer(Answer),
}

/// A Service and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ingress) struct Group {
    /// In the namespace of the Ingress.
    pub(in crate::ingress) service: Arc<str>,
    pub(in crate::ingress) port: PortRef,
    /// Relative to the others; zero gets nothing.
    pub(in crate::ingress) weight: u32,
}

/// # Errors
/// Says which element cannot be served.
pub(super) fn parse(text: &str) -> Result<Actions, String> {
    let mut actions = Actions::default();
    for element in json::elements(text)? {
        actions.add(element)?;
    }
    match actions.last {
        // Envoy's filter leaves its own answers as they are.
        Some(Final::Redirect(_) | Final::Answer(_)) if actions.filters.cors.is_some() => {
            Err("Cors is served for requests that are forwarded".into())
        }
        Some(_) | None if actions.copies_what_it_removes() => {
            Err("a header that another one refers to is removed, and Envoy removes first".into())
        }
        Some(_) | None => Ok(actions),
    }
}

impl Actions {
    fn add(&mut self, Element { kind, mut fields }: Element) -> Result<(), String> {
        match kind.as_str() {
            "ForwardGroup" => self.end(Final::Groups(groups(&mut fields)?))?,
            "Redirect" => self.end(Final::Redirect(redirect(&mut fields)?))?,
            "FixedResponse" => self.end(Final::Answer(answer(&mut fields)?))?,
            "InsertHeader" => self.filters.headers.push(insert(&mut fields)?),
            "RemoveHeader" => {
                let removed = header_name(&fields.needed("key")?)?;
                // What was given before is taken away too.
                self.filters.headers.retain(|edit| match edit {
                    HeaderEdit::Insert { name, .. } => *name != removed,
                    HeaderEdit::Remove(_) => true,
                });
                self.filters.headers.push(HeaderEdit::Remove(removed));
            }
            "TrafficLimit" => {
                let total = fields.parsed("QPS", rate_limit::rate)?;
                let each = |text: &str| {
                    rate_limit::rate(text).and_then(|each| rate_limit::below(each, total))
                };
                let each = fields.parsed("QPSPerIp", each)?;
                let limit = rate_limit::limit(total, each);
                self.filters.limit = Some(limit.ok_or("a limit needs QPS or QPSPerIp")?);
            }
            "Cors" => self.filters.cors = Some(Arc::new(cors_policy(&mut fields)?)),
            other => return Err(format!("actions of type {} are not served", value::quote(other))),
        }
        fields.end()
    }

    fn copies_what_it_removes(&self) -> bool {
        let removes = |header: &Arc<str>| {
            self.filters.headers.iter().any(|edit| match edit {
                HeaderEdit::Remove(name) => name == header,
                HeaderEdit::Insert { .. } => false,
            })
        };
        self.filters.headers.iter().any(|edit| match edit {
            HeaderEdit::Insert { value: HeaderValue::OfHeader(header), .. } => removes(header),
            HeaderEdit::Insert { value: HeaderValue::Text(_), .. } | HeaderEdit::Remove(_) => false,
        })
    }

    fn end(&mut self, last: Final) -> Result<(), String> {
        match self.last.replace(last) {
            Some(_) => Err("there are several of ForwardGroup, Redirect and FixedResponse".into()),
            None => Ok(()),
        }
    }
}

fn groups(fields: &mut Fields) -> Result<Vec<Group>, String> {
    if let Some(mut sticky) = fields.object("ServerGroupStickySession")? {
        if sticky.flag("Enabled")? == Some(true) {
            return Err("sticky sessions between Services are not served".into());
        }
        sticky.number::<u32>("Timeout")?;
        sticky.end()?;
    }
    let groups: Result<Vec<_>, _> =
        fields.objects("ServerGroups")?.into_iter().map(group).collect();
    let groups = groups?;
    match groups.iter().any(|group| group.weight > 0) {
        true => Ok(groups),
        false => Err("no group has a weight".into()),
    }
}

fn group(mut fields: Fields) -> Result<Group, String> {
    if fields.text("ServerGroupID")?.is_some() {
        return Err("groups of the vendor's store cannot be read; name a Service".into());
    }
    let service = fields.needed("ServiceName")?;
    let at = fields.at("ServicePort");
    let port = fields.number("ServicePort")?.ok_or_else(|| format!("{at} is missing"))?;
    let weight = fields.number("Weight")?.unwrap_or(100);
    fields.end()?;
    if weight > 100 {
        return Err(format!("the weight {weight} is more than 100"));
    }
    Ok(Group { service: service.into(), port: PortRef::Number(port), weight })
}

fn answer(fields: &mut Fields) -> Result<Answer, String> {
    let at = fields.at("httpCode");
    let status = fields.number("httpCode")?.ok_or_else(|| format!("{at} is missing"))?;
    // Without a redirect's target and without the body of an answer that has none.
    if !(200..=599).contains(&status) || (300..400).contains(&status) {
        return Err(format!("{at}: {status} is not of 2xx, 4xx or 5xx"));
    }
    let content_type = fields.needed("contentType")?;
    if !value::is_header_value(&content_type) || !content_type.contains('/') {
        return Err(format!("{} is not the type of a body", value::quote(&content_type)));
    }
    let body = fields.text("content")?.unwrap_or_default();
    if body.len() > Answer::MAX_BODY {
        let at = fields.at("content");
        return Err(format!("{at} has {} bytes and may have {}", body.len(), Answer::MAX_BODY));
    }
    Ok(Answer { status, content_type: content_type.into(), body: body.into() })
}

fn redirect(fields: &mut Fields) -> Result<Redirect, String> {
    let mut part = |key: &str, whole: &str| {
        let text = fields.text(key)?.filter(|text| text != whole);
        match text {
            Some(text) if text.len() > MAX_TEXT || !text.bytes().all(|b| b.is_ascii_graphic()) => {
                Err(format!("{} cannot be in a URL", value::quote(&text)))
            }
            text => Ok(text),
        }
    };
    let host = part("host", "${host}")?.map(|text| redirect_host(&text)).transpose()?;
    let port = part("port", "${port}")?.map(|text| redirect_port(&text)).transpose()?;
    let scheme = part("protocol", "${protocol}")?.map(|text| scheme(&text)).transpose()?;
    let path = part("path", "${path}")?;
    let query = part("query", "${query}")?;
    let code = fields.parsed("httpCode", code)?.unwrap_or(RedirectCode::MovedPermanently);
    let redirect = Redirect { code, scheme, host, port, path: new_path(path, query)? };
    let Redirect { code: _, scheme, host, port, path } = &redirect;
    if scheme.is_none() && host.is_none() && port.is_none() && *path == NewPath::Same {
        return Err("the redirect leads to the same URL".into());
    }
    Ok(redirect)
}

fn redirect_host(text: &str) -> Result<Arc<str>, String> {
    match host::parse(text) {
        Ok(Host::Exact(host)) => Ok(host),
        Ok(Host::Wildcard(_) | Host::Any) | Err(_) => {
            Err(format!("{} is neither `${{host}}` nor a host", value::quote(text)))
        }
    }
}

fn redirect_port(text: &str) -> Result<std::num::NonZeroU16, String> {
    let port = value::number(text, 1..=u16::MAX)?;
    std::num::NonZeroU16::new(port).ok_or_else(|| "0 is no port".into())
}

fn scheme(text: &str) -> Result<Scheme, String> {
    match text {
        "HTTP" | "http" => Ok(Scheme::Http),
        "HTTPS" | "https" => Ok(Scheme::Https),
        other => Err(format!("{} is neither HTTP nor HTTPS", value::quote(other))),
    }
}

fn code(text: &str) -> Result<RedirectCode, String> {
    match text {
        "301" => Ok(RedirectCode::MovedPermanently),
        "302" => Ok(RedirectCode::Found),
        "303" => Ok(RedirectCode::SeeOther),
        "307" => Ok(RedirectCode::TemporaryRedirect),
        "308" => Ok(RedirectCode::PermanentRedirect),
        other => Err(format!("{} is none of 301, 302, 303, 307 and 308", value::quote(other))),
    }
}

/// What Envoy can make of both.
fn new_path(path: Option<String>, query: Option<String>) -> Result<NewPath, String> {
    let is_fixed = |text: &str| !text.contains("${");
    let (path, query) = match (path, query) {
        (None, None) => return Ok(NewPath::Same),
        (None, Some(_)) => return Err("another query needs another path".into()),
        (Some(path), query) => (path, query),
    };
    if path.contains(['?', '#']) || query.as_ref().is_some_and(|query| query.contains('#')) {
        return Err("a path has no `?`, and neither part a `#`".into());
    }
    let fixed = |path: String| match &query {
        Some(query) if !is_fixed(query) => {
            Err(format!("{} is neither `${{query}}` nor a text", value::quote(query)))
        }
        query => Ok(NewPath::Fixed { path: path.into(), query: query.as_deref().map(Into::into) }),
    };
    match path.split_once("${path}") {
        None if !path.starts_with('/') => {
            Err(format!("{} does not begin with `/`", value::quote(&path)))
        }
        None if is_fixed(&path) => fixed(path),
        Some((before, after))
            if query.is_none()
                && is_fixed(before)
                && is_fixed(after)
                && (before.is_empty() || before.starts_with('/')) =>
        {
            Ok(NewPath::Around { before: before.into(), after: after.into() })
        }
        None | Some(_) => Err(format!("the path {} is not served", value::quote(&path))),
    }
}

fn insert(fields: &mut Fields) -> Result<HeaderEdit, String> {
    let name = header_name(&fields.needed("key")?)?;
    let text = fields.needed("value")?;
    let value = match fields.text("valueType")?.as_deref() {
        None | Some("UserDefined") if value::is_header_value(&text) && text.len() <= MAX_TEXT => {
            HeaderValue::Text(text.into())
        }
        // In a reference a `%` would end it.
        Some("ReferenceHeader") if value::is_token(&text) && !text.contains('%') => {
            HeaderValue::OfHeader(text.to_ascii_lowercase().into())
        }
        None | Some("UserDefined" | "ReferenceHeader") => {
            return Err(format!("{} is not the value of a header", value::quote(&text)));
        }
        Some(other) => {
            return Err(format!("values of type {} are not served", value::quote(other)));
        }
    };
    let replaces = fields.flag("coverEnabled")?.unwrap_or(true);
    Ok(HeaderEdit::Insert { name, value, replaces })
}

fn header_name(text: &str) -> Result<Arc<str>, String> {
    let name = text.to_ascii_lowercase();
    let is_reserved = RESERVED.contains(&name.as_str())
        || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if !value::is_token(&name) || name.len() > MAX_TEXT || is_reserved {
        return Err(format!("{} is not a header that a rule may change", value::quote(text)));
    }
    Ok(name.into())
}

fn cors_policy(fields: &mut Fields) -> Result<crate::model::Cors, String> {
    let mut list = |key| {
        let texts = fields.texts(key)?;
        Ok::<_, String>((!texts.is_empty()).then(|| texts.join(",")))
    };
    let (origins, methods) = (list("AllowOrigin")?, list("AllowMethods")?);
    let (headers, exposed) = (list("AllowHeaders")?, list("ExposeHeaders")?);
    cors::policy(&cors::Written {
        origins,
        methods,
        headers,
        exposed,
        credentials: fields.flag("AllowCredentials")?,
        max_age: fields.parsed("MaxAge", cors::max_age)?,
    })
}
