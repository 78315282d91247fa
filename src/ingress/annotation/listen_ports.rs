//! `listen-ports`: on which listeners the rules are (semantics.md 2.3).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    diag::{Diag, Field, Reason},
    ingress::{
        annotation::{Annotations, value},
        dialect::Dialect,
        listens::Listens,
    },
    model::{ListenerKey, Transport},
};

/// Reads it. Only gateways with several listeners have it.
pub(super) fn parse(annotations: &Annotations<'_>, diags: &mut Vec<Diag>) -> Listens {
    match annotations.dialect {
        Dialect::Mse => return Listens::Everywhere,
        Dialect::Alb => {}
    }
    let by_certificate = || Listens::ByCertificate { at: Field::of(&annotations.root.object) };
    let Some(entry) = annotations.get("listen-ports") else { return by_certificate() };
    // What is not understood may have kept the rules from a port: they are on none.
    let listeners = listeners(entry.value).unwrap_or_else(|problem| {
        let message = format!("{problem}; the rules of the Ingress are not served");
        diags.push(Diag::error(&entry.at, Reason::InvalidAnnotation, message));
        BTreeSet::new()
    });
    Listens::On { at: entry.at, listeners }
}

/// `[{"HTTP":80},{"HTTPS":443}]`.
fn listeners(text: &str) -> Result<BTreeSet<ListenerKey>, String> {
    let form = || format!("{} is not of the form [{{\"HTTP\":80}}]", value::quote(text));
    let list: Vec<serde_json::Map<String, Value>> =
        serde_json::from_str(text).map_err(|_| form())?;
    let mut found = BTreeSet::new();
    for (protocol, port) in list.into_iter().flatten() {
        let transport = match protocol.as_str() {
            "HTTP" => Transport::Plaintext,
            "HTTPS" => Transport::Tls,
            // The gateway object is told.
            "QUIC" => continue,
            other => return Err(format!("{} is neither HTTP nor HTTPS", value::quote(other))),
        };
        let port = port.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|p| *p != 0);
        let port = port.ok_or_else(|| "a port is from 1 to 65535".to_owned())?;
        found.insert(ListenerKey { transport, port: Some(port) });
    }
    if found.is_empty() { Err("no HTTP or HTTPS port is in it".to_owned()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name;

    #[test]
    fn lists_of_ports() {
        for (text, expect) in [
            (r#"[{"HTTP":8001}]"#, Ok("http-8001")),
            (r#"[{"HTTPS":443},{"HTTP":80}]"#, Ok("http-80 https-443")),
            (r#"[{"HTTPS":443,"HTTP":80}]"#, Ok("http-80 https-443")),
            (r#"[{"HTTP":80},{"QUIC":443}]"#, Ok("http-80")),
            ("[]", Err("no HTTP or HTTPS port is in it")),
            ("80", Err("\"80\" is not of the form [{\"HTTP\":80}]")),
            (r#"[{"HTTP":0}]"#, Err("a port is from 1 to 65535")),
            (r#"[{"HTTP":65536}]"#, Err("a port is from 1 to 65535")),
            (r#"[{"HTTP":"80"}]"#, Err("a port is from 1 to 65535")),
            (r#"[{"TCP":80}]"#, Err("\"TCP\" is neither HTTP nor HTTPS")),
            (r#"[{"QUIC":443}]"#, Err("no HTTP or HTTPS port is in it")),
        ] {
            let found = listeners(text).map(|list| {
                let names: Vec<_> = list.into_iter().map(name::listener).collect();
                names.join(" ")
            });
            assert_eq!(found.as_deref(), expect.map_err(str::to_owned).as_deref(), "{text}");
        }
    }
}
