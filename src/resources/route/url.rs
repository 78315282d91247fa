//! Redirects, rewrites and answers of the gateway itself.

use envoy_types::pb::envoy::{
    config::{
        core::v3::{self as core, data_source::Specifier},
        route::v3::{
            self as pb,
            redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
        },
    },
    r#type::matcher::v3::RegexMatchAndSubstitute,
};

use crate::{
    model::{Answer, Front, Host, NewPath, Redirect, RedirectCode, Rewrite, Scheme},
    resources::pack,
};

/// Matches a whole path, which `\0` then stands for.
const WHOLE_PATH: &str = "^.*$";

/// Host, path and query stay (semantics.md 3.2). Of the port that the client named Envoy leaves out
/// 80 by itself, and any other only if it is given another port or host.
pub(super) fn redirect_to_https(host: &Host, front: &Front) -> pb::RedirectAction {
    let (host_redirect, port_redirect) = match (front.https_port, host) {
        (None, _) => (String::new(), 0),
        (Some(Front::HTTPS), Host::Exact(host)) => (host.to_string(), 0),
        (Some(port), Host::Exact(_) | Host::Wildcard(_) | Host::Any) => {
            (String::new(), u32::from(port))
        }
    };
    pb::RedirectAction {
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        host_redirect,
        port_redirect,
        response_code: RedirectResponseCode::PermanentRedirect.into(),
        ..Default::default()
    }
}

pub(super) fn redirect(redirect: &Redirect) -> pb::RedirectAction {
    let scheme = redirect.scheme.map(|scheme| match scheme {
        Scheme::Http => SchemeRewriteSpecifier::SchemeRedirect("http".into()),
        Scheme::Https => SchemeRewriteSpecifier::HttpsRedirect(true),
    });
    let (path, strips_query) = new_path(&redirect.path);
    pb::RedirectAction {
        scheme_rewrite_specifier: scheme,
        host_redirect: redirect.host.as_deref().unwrap_or_default().into(),
        port_redirect: redirect.port.map_or(0, |port| port.get().into()),
        path_rewrite_specifier: path,
        strip_query: strips_query,
        response_code: code(redirect.code).into(),
    }
}

/// And whether the query is left out.
fn new_path(path: &NewPath) -> (Option<PathRewriteSpecifier>, bool) {
    match path {
        NewPath::Same => (None, false),
        NewPath::Around { before, after } => {
            let substitution = format!(r"{}\0{}", literal(before), literal(after));
            let rewrite = substitute(WHOLE_PATH.into(), substitution);
            (Some(PathRewriteSpecifier::RegexRewrite(rewrite)), false)
        }
        NewPath::Fixed { path, query: None } => {
            (Some(PathRewriteSpecifier::PathRedirect(path.to_string())), false)
        }
        NewPath::Fixed { path, query: Some(query) } if query.is_empty() => {
            (Some(PathRewriteSpecifier::PathRedirect(path.to_string())), true)
        }
        NewPath::Fixed { path, query: Some(query) } => {
            // xds: a query here takes the place of the request's.
            (Some(PathRewriteSpecifier::PathRedirect(format!("{path}?{query}"))), false)
        }
    }
}

/// A backslash would begin a group.
fn literal(text: &str) -> String {
    text.replace('\\', r"\\")
}

fn code(code: RedirectCode) -> RedirectResponseCode {
    match code {
        RedirectCode::MovedPermanently => RedirectResponseCode::MovedPermanently,
        RedirectCode::Found => RedirectResponseCode::Found,
        RedirectCode::SeeOther => RedirectResponseCode::SeeOther,
        RedirectCode::TemporaryRedirect => RedirectResponseCode::TemporaryRedirect,
        RedirectCode::PermanentRedirect => RedirectResponseCode::PermanentRedirect,
    }
}

pub(super) fn rewrite(rewrite: &Rewrite) -> RegexMatchAndSubstitute {
    substitute(rewrite.pattern.as_str().into(), rewrite.substitution.to_string())
}

fn substitute(pattern: String, substitution: String) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute { pattern: Some(pack::re2(pattern)), substitution }
}

/// Without a body.
pub(super) fn status(status: u16) -> pb::DirectResponseAction {
    pb::DirectResponseAction { status: status.into(), ..Default::default() }
}

pub(super) fn answer(answer: &Answer) -> pb::DirectResponseAction {
    let body = core::DataSource {
        specifier: Some(Specifier::InlineString(answer.body.to_string())),
        ..Default::default()
    };
    let body = (!answer.body.is_empty()).then_some(body);
    pb::DirectResponseAction { body, ..status(answer.status) }
}
