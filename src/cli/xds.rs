//! Flags of the xDS server.
//!
//! Owns which protection they mean: nothing is served in the clear on an address unless a flag says
//! so in as many words.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    identity::authority,
    key::ObjectName,
    rbac::AUTHORITY,
    serve::{XdsOptions, XdsSecurity},
    xds::XdsListen,
};

/// Where Envoys connect, and how each side proves who it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "xDS")]
pub(super) struct XdsFlags {
    /// Where Envoys connect: an address, or a unix socket that only this user may open
    ///
    /// On an address both sides prove who they are with certificates (TLS 1.3), and an Envoy is served
    /// the gateway that its certificate names. On Kubernetes Convoy makes the certificates itself and
    /// keeps its authority in the Secret `convoy-authority`; see `convoy certificate`.
    #[arg(
        long,
        env = "CONVOY_XDS_LISTEN",
        value_name = "ADDR|unix:PATH",
        default_value = "127.0.0.1:18000"
    )]
    xds_listen: XdsListen,
    /// Directory with `tls.crt`, `tls.key` and `ca.crt`, as cert-manager writes them, in place of
    /// Convoy's own certificates. Changes are followed
    ///
    /// `ca.crt` is who may have signed the certificates of Envoys. One of these has the usage `client
    /// auth` and exactly one name of ours, the URI spiffe://convoy/KIND/NAME, where KIND is MseIngressConfig or
    /// AlbConfig.
    #[arg(long, env = "CONVOY_XDS_CERT_DIR", value_name = "DIR", conflicts_with = "xds_plaintext")]
    xds_cert_dir: Option<PathBuf>,
    /// DNS names of Convoy's own certificate, of which Envoys expect one; without it
    /// `convoy.<namespace>.svc`
    #[arg(long, env = "CONVOY_XDS_NAME", value_name = "NAME", value_delimiter = ',')]
    xds_name: Vec<String>,
    /// Accept a token of a ServiceAccount with the audience `convoy` in place of a certificate
    ///
    /// A gateway's annotation `convoy.dev/envoy-account: NAMESPACE/NAME` says whose. Tokens are
    /// verified with the keys of the fleet, without asking its API server about each.
    #[arg(long, env = "CONVOY_XDS_TOKENS", conflicts_with = "xds_plaintext")]
    xds_tokens: bool,
    /// Development only: no TLS on the address. Whoever reaches it is served every gateway, private
    /// keys included
    #[arg(long, env = "CONVOY_XDS_PLAINTEXT")]
    xds_plaintext: bool,
}

impl XdsFlags {
    /// `namespace` is Convoy's own, where the fleet is on Kubernetes.
    pub(super) fn options(self, namespace: Option<&str>) -> Result<XdsOptions> {
        let XdsFlags { xds_listen: listen, xds_cert_dir, xds_name, xds_tokens: tokens, .. } = self;
        if tokens && namespace.is_none() {
            bail!("--xds-tokens: a directory has no ServiceAccounts");
        }
        let security = match (&listen, xds_cert_dir, namespace) {
            (XdsListen::Unix(_), Some(_), _) => {
                bail!("--xds-cert-dir: a unix socket has no TLS; its file mode protects it")
            }
            (XdsListen::Unix(_), None, _) if tokens => {
                bail!("--xds-tokens: nobody is asked on a unix socket; its file mode protects it")
            }
            (XdsListen::Unix(_), None, _) => XdsSecurity::Plaintext,
            (XdsListen::Tcp(_), _, _) if self.xds_plaintext => XdsSecurity::Plaintext,
            (XdsListen::Tcp(_), Some(dir), _) => XdsSecurity::Files(dir),
            (XdsListen::Tcp(_), None, Some(namespace)) => {
                let names = match xds_name.is_empty() {
                    true => vec![format!("convoy.{namespace}.svc")],
                    false => xds_name,
                };
                let secret = ObjectName::new(namespace, AUTHORITY);
                XdsSecurity::Authority(authority::Options { secret, names })
            }
            (XdsListen::Tcp(address), None, None) => bail!(
                "nothing protects xDS on {address}: give --xds-cert-dir DIR, or a unix socket with \
                 --xds-listen unix:PATH, or --xds-plaintext for development"
            ),
        };
        Ok(XdsOptions { listen, security, tokens })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        xds: XdsFlags,
    }

    /// What the words of a command line ask for; the namespace says that the fleet is on Kubernetes.
    #[track_caller]
    fn check(words: &str, namespace: Option<&str>, expect: Result<XdsSecurity, &str>) {
        let words = ["serve"].into_iter().chain(words.split_whitespace());
        let options = Line::try_parse_from(words.clone())
            .map_err(anyhow::Error::from)
            .and_then(|line| line.xds.options(namespace));
        match (options, expect) {
            (Ok(options), Ok(expect)) => assert_eq!(options.security, expect),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (options, expect) => {
                panic!("{:?}: {options:?}, not {expect:?}", words.collect::<Vec<_>>())
            }
        }
    }

    #[test]
    fn fault_s01_no_address_is_served_in_the_clear_unless_a_flag_says_so() {
        let authority = |name: &str| {
            let secret = ObjectName::new("own", "convoy-authority");
            Ok(XdsSecurity::Authority(authority::Options { secret, names: vec![name.to_owned()] }))
        };
        check("", Some("own"), authority("convoy.own.svc"));
        check("--xds-name=a.b", Some("own"), authority("a.b"));
        check("", None, Err("nothing protects xDS on 127.0.0.1:18000"));
        check("--xds-listen=0.0.0.0:1", None, Err("--xds-plaintext"));
        check("--xds-plaintext", None, Ok(XdsSecurity::Plaintext));
        check("--xds-plaintext", Some("own"), Ok(XdsSecurity::Plaintext));
        for namespace in [None, Some("own")] {
            check("--xds-cert-dir=/d", namespace, Ok(XdsSecurity::Files("/d".into())));
            check("--xds-listen=unix:/s", namespace, Ok(XdsSecurity::Plaintext));
        }
        check("--xds-listen=unix:/s --xds-cert-dir=/d", None, Err("has no TLS"));
        check("--xds-plaintext --xds-cert-dir=/d", None, Err("cannot be used"));
        check("--xds-plaintext --xds-tokens", Some("own"), Err("cannot be used"));
        check("--xds-tokens --xds-cert-dir=/d", None, Err("no ServiceAccounts"));
    }
}
