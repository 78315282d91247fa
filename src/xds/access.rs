//! Which gateway a stream may see: decided by what the connection has proved (faults.md S1, S2).
//!
//! Owns the rule. Must not know how a certificate or a token is verified, nor which gateways exist.
//! Cost: a look at one certificate a connection, or one signature a stream.

use std::{fmt, net::SocketAddr, sync::Arc};

use envoy_types::pb::envoy::config::core::v3::Node;
use http::{HeaderMap, header::AUTHORIZATION};
use tonic::Status;

use crate::{identity::IdentityError, key::GatewayId, xds::refused::Refused};

/// Of `node.id` and `node.cluster`, in bytes: they are in every line of the log about a stream. Names of
/// Pods and gateways have at most 253.
const MAX_NAME: usize = 512;

/// What is proved by a bearer token. Whoever composes the program gives the function that verifies
/// one; its error goes to the log and to the Envoy.
pub type Tokens = Arc<dyn Fn(&str) -> Result<Bearer, String> + Send + Sync>;

/// Who sent a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// For the log.
    pub name: String,
    /// The gateways whose Envoys run as it.
    pub gateways: Vec<GatewayId>,
    /// The Pod that the token is bound to: `node.id` must be its name.
    pub pod: Option<String>,
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Not of a unix socket.
    pub(crate) address: Option<SocketAddr>,
    pub(crate) proof: Proof,
}

/// What a connection has proved before the first byte of HTTP.
#[derive(Clone, Debug)]
pub(crate) enum Proof {
    /// Whoever reaches the socket is believed: a unix socket, or plaintext for development.
    NotAsked,
    /// TLS without a certificate: only a token can help.
    Nothing,
    /// A certificate that an authority of ours has signed, and whom it is for.
    Certificate(Result<GatewayId, IdentityError>),
}

/// Who opened a stream.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    /// `node.cluster` is believed.
    Believed,
    /// It may see these gateways and no other, whatever it calls itself.
    Proved(Bearer),
}

/// Why a stream is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nothing has been proved; the reason.
    Unauthenticated(String),
    /// Something has, but not this.
    Forbidden(String),
    MissingNode,
    /// Longer than any name; it is not repeated.
    LongNode,
    /// `node.cluster` where it is believed.
    NoGateway(String),
}

impl Refusal {
    pub(crate) fn kind(&self) -> Refused {
        match self {
            Refusal::Unauthenticated(_) => Refused::Unauthenticated,
            Refusal::Forbidden(_) => Refused::Forbidden,
            Refusal::MissingNode | Refusal::LongNode | Refusal::NoGateway(_) => Refused::BadNode,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Unauthenticated(why) | Refusal::Forbidden(why) => f.write_str(why),
            Refusal::MissingNode => {
                f.write_str("the first request names no node.id: start Envoy with one")
            }
            Refusal::LongNode => {
                write!(f, "node.id and node.cluster have at most {MAX_NAME} bytes each")
            }
            Refusal::NoGateway(cluster) => write!(
                f,
                "node.cluster `{cluster}` names no gateway: it must be its id, as AlbConfig/NAME, or the \
                 name of an MseIngressConfig"
            ),
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Status {
        let text = refusal.to_string();
        match refusal {
            Refusal::Unauthenticated(_) => Status::unauthenticated(text),
            Refusal::Forbidden(_) => Status::permission_denied(text),
            Refusal::MissingNode | Refusal::LongNode | Refusal::NoGateway(_) => {
                Status::invalid_argument(text)
            }
        }
    }
}

/// Who opens a stream: by its connection, or by its token where the connection proves nothing.
pub(crate) fn authenticate(
    proof: &Proof,
    headers: &HeaderMap,
    tokens: Option<&Tokens>,
) -> Result<Caller, Refusal> {
    match (proof, tokens) {
        (Proof::NotAsked, _) => Ok(Caller::Believed),
        (Proof::Certificate(Ok(gateway)), _) => Ok(Caller::Proved(Bearer {
            name: "its certificate".to_owned(),
            gateways: vec![gateway.clone()],
            pod: None,
        })),
        (Proof::Certificate(Err(error)), _) => Err(Refusal::Unauthenticated(error.to_string())),
        (Proof::Nothing, None) => {
            Err(Refusal::Unauthenticated("a certificate is needed".to_owned()))
        }
        (Proof::Nothing, Some(verify)) => {
            let token = bearer(headers).ok_or_else(|| {
                Refusal::Unauthenticated("neither a certificate nor a bearer token".to_owned())
            })?;
            verify(token).map(Caller::Proved).map_err(Refusal::Unauthenticated)
        }
    }
}

/// The token of `authorization: Bearer TOKEN`; the scheme in any case (RFC 9110, section 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    // A file that holds a token may end with a line break or without.
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
}

impl Caller {
    /// The gateway that the stream sees.
    pub(crate) fn gateway(&self, node: Option<&Node>) -> Result<(Node, GatewayId), Refusal> {
        let node = node.filter(|node| !node.id.is_empty()).ok_or(Refusal::MissingNode)?;
        if node.id.len().max(node.cluster.len()) > MAX_NAME {
            return Err(Refusal::LongNode);
        }
        let gateway = match self {
            Caller::Believed => {
                let named = GatewayId::named(&node.cluster);
                named.ok_or_else(|| Refusal::NoGateway(node.cluster.clone()))?
            }
            Caller::Proved(bearer) => bearer.gateway(node)?,
        };
        Ok((node.clone(), gateway))
    }
}

impl Bearer {
    fn gateway(&self, node: &Node) -> Result<GatewayId, Refusal> {
        let Bearer { name, gateways, pod } = self;
        if let Some(pod) = pod
            && *pod != node.id
        {
            let why = format!("{name} is bound to pod `{pod}`, but node.id is `{}`", node.id);
            // Of another Pod nothing is proved.
            return Err(Refusal::Unauthenticated(why));
        }
        let own = match (node.cluster.as_str(), gateways.as_slice()) {
            ("", [only]) => Some(only),
            // Of what is proved a name is enough, unless two have it.
            (cluster, _) => GatewayId::find(gateways.iter(), cluster),
        };
        own.cloned().ok_or_else(|| {
            let names: Vec<_> = gateways.iter().map(GatewayId::to_string).collect();
            let names = if names.is_empty() { "no gateway".to_owned() } else { names.join(", ") };
            let cluster = &node.cluster;
            Refusal::Forbidden(format!("{name} is for {names}, but node.cluster is `{cluster}`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const WEB: &str = "MseIngressConfig/web";

    fn tokens() -> Tokens {
        Arc::new(|token| match token {
            "two" => Ok(bearer_of(&["web", "shop"], None)),
            "pod" => Ok(bearer_of(&["web"], Some("envoy-1"))),
            "kinds" => Ok(Bearer {
                gateways: vec![
                    GatewayId::mse("web"),
                    GatewayId::alb("web"),
                    GatewayId::alb("shop"),
                ],
                ..bearer_of(&[], None)
            }),
            "nobody" => Ok(bearer_of(&[], None)),
            _ => Err("the token has expired".to_owned()),
        })
    }

    fn bearer_of(gateways: &[&str], pod: Option<&str>) -> Bearer {
        let gateways = gateways.iter().map(|name| GatewayId::mse(name)).collect();
        Bearer { name: "a/b".to_owned(), gateways, pod: pod.map(str::to_owned) }
    }

    /// What `envoy-1` of this cluster may see, or the reason and a part of its text.
    #[track_caller]
    fn check(
        proof: Proof,
        authorization: Option<&str>,
        cluster: &str,
        expect: Result<&str, (&str, &str)>,
    ) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        let node = Node { id: "envoy-1".into(), cluster: cluster.into(), ..Node::default() };
        let seen = authenticate(&proof, &headers, Some(&tokens()))
            .and_then(|caller| caller.gateway(Some(&node)));
        match (seen, expect) {
            (Ok((_, gateway)), Ok(expect)) => assert_eq!(gateway.to_string(), expect, "{cluster}"),
            (Err(refusal), Err((reason, part))) => {
                assert_eq!(refusal.kind().as_str(), reason, "{refusal}");
                assert!(refusal.to_string().contains(part), "{refusal}");
            }
            (seen, expect) => panic!("{cluster}: {seen:?}, not {expect:?}"),
        }
    }

    #[test]
    fn fault_s02_a_certificate_decides_and_node_cluster_does_not() {
        let web = || Proof::Certificate(Ok(GatewayId::mse("web")));
        check(web(), None, "", Ok(WEB));
        check(web(), None, "web", Ok(WEB));
        check(web(), None, WEB, Ok(WEB));
        check(web(), None, "shop", Err(("forbidden", "node.cluster is `shop`")));
        check(web(), None, "Ingress/web", Err(("forbidden", "Ingress/web")));
        // A gateway of the other kind that has its name.
        check(web(), None, "AlbConfig/web", Err(("forbidden", "AlbConfig/web")));
        let alb = || Proof::Certificate(Ok(GatewayId::alb("web")));
        check(alb(), None, "web", Ok("AlbConfig/web"));
        check(alb(), None, WEB, Err(("forbidden", "is for AlbConfig/web")));
        // A token adds nothing to a certificate.
        check(web(), Some("Bearer two"), "shop", Err(("forbidden", "shop")));
        let foreign = Proof::Certificate(Err(IdentityError::NoGateway("none".into())));
        check(foreign, Some("Bearer two"), "web", Err(("unauthenticated", "no URI")));
    }

    #[test]
    fn fault_s01_without_a_certificate_a_token_is_needed() {
        check(Proof::Nothing, None, "web", Err(("unauthenticated", "neither")));
        check(Proof::Nothing, Some("Basic two"), "web", Err(("unauthenticated", "neither")));
        check(Proof::Nothing, Some("Bearer "), "web", Err(("unauthenticated", "neither")));
        check(Proof::Nothing, Some("Bearer old"), "web", Err(("unauthenticated", "expired")));
        let none = authenticate(&Proof::Nothing, &HeaderMap::new(), None);
        assert_eq!(none.unwrap_err().kind().as_str(), "unauthenticated");
    }

    #[test]
    fn fault_s02_a_token_is_for_the_gateways_of_its_account() {
        check(Proof::Nothing, Some("bearer two\n".trim_end()), "web", Ok(WEB));
        check(Proof::Nothing, Some("Bearer two"), "shop", Ok("MseIngressConfig/shop"));
        check(Proof::Nothing, Some("Bearer two"), "other", Err(("forbidden", "other")));
        check(Proof::Nothing, Some("Bearer two"), "", Err(("forbidden", "a/b is for")));
        check(Proof::Nothing, Some("Bearer kinds"), "AlbConfig/web", Ok("AlbConfig/web"));
        check(Proof::Nothing, Some("Bearer kinds"), WEB, Ok(WEB));
        check(Proof::Nothing, Some("Bearer kinds"), "shop", Ok("AlbConfig/shop"));
        check(Proof::Nothing, Some("Bearer kinds"), "web", Err(("forbidden", "AlbConfig/web")));
        check(Proof::Nothing, Some("Bearer nobody"), "web", Err(("forbidden", "no gateway")));
        check(Proof::Nothing, Some("Bearer pod"), "", Ok(WEB));
        let node = |id: &str| Node { id: id.into(), cluster: "web".into(), ..Node::default() };
        let caller = Caller::Proved(bearer_of(&["web"], Some("envoy-1")));
        let refusal = caller.gateway(Some(&node("envoy-2"))).unwrap_err();
        assert_eq!(refusal.kind().as_str(), "unauthenticated");
        assert!(refusal.to_string().contains("envoy-2"), "{refusal}");
    }

    #[test]
    fn who_is_not_asked_is_believed() {
        check(Proof::NotAsked, None, "web", Ok(WEB));
        check(Proof::NotAsked, None, "AlbConfig/web", Ok("AlbConfig/web"));
        check(Proof::NotAsked, None, "Gateway/web", Err(("bad_node", "names no gateway")));
        check(Proof::NotAsked, None, "", Err(("bad_node", "names no gateway")));
        assert_eq!(Caller::Believed.gateway(None).unwrap_err(), Refusal::MissingNode);
        let nameless = Node { cluster: "web".into(), ..Node::default() };
        assert_eq!(Caller::Believed.gateway(Some(&nameless)).unwrap_err(), Refusal::MissingNode);
    }

    #[test]
    fn fault_s15_what_is_longer_than_a_name_is_not_repeated() {
        let long = "x".repeat(MAX_NAME + 1);
        for (id, cluster) in [(&*long, "web"), ("envoy", &*long)] {
            let node = Node { id: id.into(), cluster: cluster.into(), ..Node::default() };
            let refusal = Caller::Believed.gateway(Some(&node)).unwrap_err();
            assert_eq!((&refusal, refusal.kind()), (&Refusal::LongNode, Refused::BadNode));
            assert!(!refusal.to_string().contains('x'), "{refusal}");
        }
    }
}
