//! Kubeconfigs from strangers (faults.md S5).
//!
//! Owns which fields of a kubeconfig are legal. All entries are checked, not only those of the
//! current context: a kubeconfig that holds a program to run is no kubeconfig for a member.
//! Nothing is kept but the credentials. Cost: linear in a bounded document.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::source::registry::{
    credentials::Credentials,
    intake::{self, MAX_BYTES, Parts},
    strict::{Fields, Node, Refusal},
};

/// Nodes of a document, after aliases: a hundred clusters, and nothing that explodes.
const MAX_NODES: usize = 10_000;

const CONFIG: Fields = Fields {
    allowed: &[
        "apiVersion",
        "kind",
        "preferences",
        "clusters",
        "users",
        "contexts",
        "current-context",
        "extensions",
    ],
    refused: &[],
};

const CLUSTER: Fields = Fields {
    allowed: &[
        "server",
        "certificate-authority-data",
        "tls-server-name",
        "disable-compression",
        "extensions",
    ],
    refused: &[
        ("certificate-authority", "names a file; give certificate-authority-data"),
        ("insecure-skip-tls-verify", "the server must be verified"),
        ("proxy-url", "proxies are not used"),
    ],
};

const USER: Fields = Fields {
    allowed: &["token", "client-certificate-data", "client-key-data", "extensions"],
    refused: &[
        ("exec", "would run a program; give a token or a client certificate"),
        ("auth-provider", "would run a plugin; give a token or a client certificate"),
        ("tokenFile", "names a file; give token"),
        ("client-certificate", "names a file; give client-certificate-data"),
        ("client-key", "names a file; give client-key-data"),
        ("username", "passwords are not used; give a token or a client certificate"),
        ("password", "passwords are not used; give a token or a client certificate"),
        ("as", "nobody is impersonated"),
        ("as-uid", "nobody is impersonated"),
        ("as-groups", "nobody is impersonated"),
        ("as-user-extra", "nobody is impersonated"),
    ],
};

const CONTEXT: Fields =
    Fields { allowed: &["cluster", "user", "namespace", "extensions"], refused: &[] };

/// The credentials of the current context.
pub(super) fn sanitise(document: &[u8]) -> Result<Credentials, Refusal> {
    let document = parse(document)?;
    let config = Node::root(&document);
    config.check(&CONFIG)?;
    expect(&config.get("apiVersion"), "v1")?;
    expect(&config.get("kind"), "Config")?;
    let clusters = entries(&config, "clusters", "cluster", &CLUSTER)?;
    let users = entries(&config, "users", "user", &USER)?;
    let contexts = entries(&config, "contexts", "context", &CONTEXT)?;

    let context = current(&config, &contexts)?;
    let cluster = named(&context.get("cluster"), &clusters)?;
    let user = named(&context.get("user"), &users)?;
    intake::credentials(&Parts {
        server: cluster.get("server"),
        server_name: cluster.get("tls-server-name"),
        authorities: cluster.get("certificate-authority-data"),
        token: user.get("token"),
        chain: user.get("client-certificate-data"),
        key: user.get("client-key-data"),
    })
}

fn parse(document: &[u8]) -> Result<Value, Refusal> {
    let whole = Node::named("", None);
    if document.len() > MAX_BYTES {
        let message = format!("has {} bytes, more than {MAX_BYTES}", document.len());
        return Err(whole.refuse(message));
    }
    let text = std::str::from_utf8(document).map_err(|_| whole.refuse("is not UTF-8"))?;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: MAX_NODES, max_events: 2 * MAX_NODES },
        with_snippet: false,
    };
    // The message of the parser may quote a secret; the line does not.
    serde_saphyr::from_str_with_options(text, options).map_err(|err| match err.location() {
        Some(location) => whole.refuse(format!("line {}: is not legal YAML", location.line())),
        None => whole.refuse("is not legal YAML"),
    })
}

fn expect(at: &Node<'_>, value: &str) -> Result<(), Refusal> {
    match at.text()? {
        Some(own) if own != value => Err(at.refuse(format!("must be `{value}`"))),
        Some(_) | None => Ok(()),
    }
}

/// The entries of a list by name. Which one of two with the same name counts differs between
/// programs, so there are none.
fn entries<'a>(
    config: &Node<'a>,
    list: &str,
    inner: &str,
    fields: &Fields,
) -> Result<BTreeMap<&'a str, Node<'a>>, Refusal> {
    let mut entries = BTreeMap::new();
    for entry in config.get(list).items()? {
        let (name, content) = (entry.get("name").required()?, entry.get(inner));
        content.check(fields)?;
        if entries.insert(name, content).is_some() {
            return Err(entry.get("name").refuse("is the name of two entries"));
        }
    }
    Ok(entries)
}

fn current<'a>(
    config: &Node<'a>,
    contexts: &BTreeMap<&'a str, Node<'a>>,
) -> Result<Node<'a>, Refusal> {
    let at = config.get("current-context");
    let mut all = contexts.values();
    match (at.is_set(), all.next(), all.next()) {
        (true, ..) => named(&at, contexts),
        (false, Some(only), None) => Ok(only.clone()),
        (false, None, _) => Err(config.get("contexts").refuse("is empty")),
        (false, Some(_), Some(_)) => Err(at.refuse("is missing, and there are several contexts")),
    }
}

fn named<'a>(at: &Node<'a>, entries: &BTreeMap<&str, Node<'a>>) -> Result<Node<'a>, Refusal> {
    let entry = entries.get(at.required()?);
    entry.cloned().ok_or_else(|| at.refuse("names an entry that does not exist"))
}
