//! Envoys that prove themselves with a token: which gateway each account acts for.
//!
//! Owns the grant and what a token must say beside being good. An operator grants it, because anybody
//! who may create Pods with an account has its tokens. Must not know how a token came.

use std::{collections::BTreeMap, fmt, str::FromStr, time::SystemTime};

use crate::{
    identity::token::{Account, TokenError, Tokens},
    key::{GatewayId, ObjectName},
};

/// An account of the fleet whose Pods are Envoys of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The ServiceAccount.
    pub account: ObjectName,
    /// The gateway whose Envoys have it.
    pub gateway: GatewayId,
}

impl FromStr for Grant {
    type Err = String;

    /// `NAMESPACE/NAME=GATEWAY`.
    fn from_str(text: &str) -> Result<Grant, String> {
        let parts = text.split_once('=').and_then(|(account, gateway)| {
            let (namespace, name) = account.split_once('/')?;
            Some((namespace, name, gateway))
        });
        match parts {
            Some((namespace, name, gateway))
                if ![namespace, name, gateway]
                    .iter()
                    .any(|own| own.is_empty() || own.contains('/')) =>
            {
                let account = ObjectName::new(namespace, name);
                Ok(Grant { account, gateway: GatewayId::mse(gateway) })
            }
            Some(_) | None => Err("it is written NAMESPACE/ACCOUNT=GATEWAY".to_owned()),
        }
    }
}

/// Why a token lets nobody in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BearerError {
    /// It proves nothing.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Nobody has granted the account a gateway.
    #[error("ServiceAccount {0} is granted no gateway")]
    NotGranted(ObjectName),
    /// Its Pod is another one than the Envoy says that it is.
    #[error("the token is bound to another Pod than `node.id` names")]
    OtherPod,
}

/// Knows who may come with a token. Cheap to clone.
#[derive(Clone)]
pub struct Bearers {
    tokens: Tokens,
    grants: BTreeMap<ObjectName, GatewayId>,
}

impl fmt::Debug for Bearers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearers").field("grants", &self.grants).finish_non_exhaustive()
    }
}

impl Bearers {
    /// Those with a grant; of two for one account the last one counts.
    pub fn new(tokens: Tokens, grants: impl IntoIterator<Item = Grant>) -> Bearers {
        let grants = grants.into_iter().map(|Grant { account, gateway }| (account, gateway));
        Bearers { tokens, grants: grants.collect() }
    }

    /// The gateway of the Envoy that has the token and calls itself `node`. A token that is bound to
    /// a Pod is good for the Envoy of that name only.
    ///
    /// # Errors
    /// It is not let in; the reason may be told.
    pub fn admit(
        &self,
        token: &str,
        node: &str,
        now: SystemTime,
    ) -> Result<GatewayId, BearerError> {
        let Account { namespace, name, pod } = self.tokens.verify(token, now)?;
        let account = ObjectName::new(&namespace, &name);
        let Some(gateway) = self.grants.get(&account) else {
            return Err(BearerError::NotGranted(account));
        };
        match pod {
            Some(pod) if pod != node => Err(BearerError::OtherPod),
            Some(_) | None => Ok(gateway.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::identity::token::tests::{Signer, claims, keys, now, tokens, with};

    #[test]
    fn fault_s01_a_token_lets_in_the_envoy_that_it_is_for_and_nobody_else() {
        let signer = Signer::ecdsa("a");
        let grants = ["edge/envoy=web".parse().unwrap(), "edge/other=shop".parse().unwrap()];
        let bearers = Bearers::new(tokens(Some(keys(&[&signer]))), grants);
        let check = |claims: Value, node: &str, expect: Result<&str, BearerError>| {
            let expect = expect.map(GatewayId::mse);
            assert_eq!(bearers.admit(&signer.sign(&claims), node, now()), expect, "{node}");
        };
        check(claims(), "envoy-7d9f", Ok("web"));
        check(claims(), "envoy-aaaa", Err(BearerError::OtherPod));
        check(claims(), "", Err(BearerError::OtherPod));
        let sub = |account: &str| with("sub", format!("system:serviceaccount:{account}").into());
        check(sub("edge:other"), "envoy-7d9f", Ok("shop"));
        let stranger = ObjectName::new("shop", "envoy");
        check(sub("shop:envoy"), "envoy-7d9f", Err(BearerError::NotGranted(stranger)));
        let audience = BearerError::Token(TokenError::Audience);
        check(with("aud", "kubernetes".into()), "envoy-7d9f", Err(audience));
        // Without a Pod there is none to compare with.
        check(with("kubernetes.io", Value::Object(Default::default())), "any", Ok("web"));
    }

    #[test]
    fn a_grant_is_an_account_and_a_gateway() {
        let grant = "edge/envoy=web".parse::<Grant>().unwrap();
        assert_eq!(grant.account, ObjectName::new("edge", "envoy"));
        assert_eq!(grant.gateway, GatewayId::mse("web"));
        for text in
            ["", "edge/envoy", "envoy=web", "/envoy=web", "edge/=web", "edge/envoy=", "a/b/c=d"]
        {
            assert!(text.parse::<Grant>().is_err(), "{text}");
        }
    }
}
