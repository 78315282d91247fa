//! `convoy certificate`: what an Envoy proves itself with, for who brings their own Envoys.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    cli::{flags, yaml},
    identity::authority::{self, Issued},
    infra::gateway_label,
    key::{GatewayId, ObjectName},
    rbac::AUTHORITY,
    settings::IdentityTimings,
    source::{kube::connect, registry::DEFAULT_NAMESPACES},
};

/// Issue a certificate for the Envoys of a gateway
///
/// `convoy certificate --gateway NAME | kubectl apply -n NAMESPACE -f -`
///
/// Prints a Secret of type kubernetes.io/tls with `tls.crt`, `tls.key` and `ca.crt`: what an Envoy
/// needs to connect to Convoy. It is signed by Convoy's own certificate authority, so it takes the
/// right to read the Secret `convoy-authority`. Envoys that Convoy manages get theirs by themselves.
///
/// The certificate lives for 30 days, and no longer than the authority. To renew it, run the command
/// again, best after 20 days and before the end: `ca.crt` then also holds the next authority where a
/// rotation is under way. Envoy takes new files up without a restart.
///
/// To have it renewed by itself, issue the certificates of both sides with cert-manager and start
/// Convoy with --xds-cert-dir. The certificate of an Envoy then has the usage `client auth` and
/// exactly one name, the URI spiffe://convoy/KIND/NAME, as in
/// `uris: ["spiffe://convoy/MseIngressConfig/NAME"]` of a Certificate. KIND may be AlbConfig too.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// The gateway: the name of an MseIngressConfig, or KIND/NAME, as in AlbConfig/NAME
    #[arg(long, env = "CONVOY_GATEWAY", value_name = "NAME", value_parser = flags::gateway)]
    gateway: GatewayId,
    /// Kubeconfig of the fleet; without it, $KUBECONFIG, ~/.kube/config, or the Pod's account
    #[arg(long, env = "CONVOY_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context in the kubeconfig; without it, the current one
    #[arg(long, env = "CONVOY_CONTEXT", value_name = "NAME")]
    context: Option<String>,
    /// Convoy's namespace
    #[arg(long, env = "CONVOY_NAMESPACE", value_name = "NAMESPACE")]
    #[arg(default_value = DEFAULT_NAMESPACES[0])]
    namespace: String,
    /// Write the files tls.crt, tls.key and ca.crt there, in place of a Secret
    #[arg(long, env = "CONVOY_OUT", value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let client = connect(args.kubeconfig.as_deref(), args.context.as_deref()).await;
    let client = client.context("find the fleet")?;
    let secret = ObjectName::new(&args.namespace, AUTHORITY);
    let authority = authority::read(client, &secret, IdentityTimings::PRODUCTION).await?;
    let issued = authority.issue(&args.gateway, SystemTime::now())?;
    match &args.out {
        Some(dir) => write_files(dir, &issued)?,
        None => yaml::print(&manifest(&args.gateway, &issued), out)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Without a namespace: that of the Envoys is whoever applies it knows.
fn manifest(gateway: &GatewayId, issued: &Issued) -> Value {
    let Issued { certificate, key, authorities } = issued;
    let label = gateway_label(gateway);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            // Names have no capitals.
            "name": format!("{}-xds", label.to_lowercase()),
            "labels": {
                "app.kubernetes.io/name": "envoy",
                "app.kubernetes.io/instance": label,
                "app.kubernetes.io/part-of": "convoy",
            },
        },
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": certificate, "tls.key": key, "ca.crt": authorities},
    })
}

fn write_files(dir: &Path, issued: &Issued) -> Result<()> {
    let Issued { certificate, key, authorities } = issued;
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    // What is trusted first, so that an Envoy that reloads in between knows who it talks to.
    for (name, text, mode) in
        [("ca.crt", authorities, 0o644), ("tls.crt", certificate, 0o644), ("tls.key", key, 0o600)]
    {
        let path = dir.join(name);
        replace(&path, text, mode).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Envoy sees a file that is moved there, and never half of one.
fn replace(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    // One that an interrupted run left may be open to others.
    if fresh.exists() {
        fs::remove_file(&fresh)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(fs::rename(&fresh, path)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn issued(number: u32) -> Issued {
        let text = |what: &str| format!("{what} {number}\n");
        Issued { certificate: text("crt"), key: text("key"), authorities: text("ca") }
    }

    #[test]
    fn a_secret_is_printed_as_kubectl_takes_it() {
        let expect = "apiVersion: v1
kind: Secret
metadata:
  labels:
    app.kubernetes.io/instance: hongkong
    app.kubernetes.io/name: envoy
    app.kubernetes.io/part-of: convoy
  name: hongkong-xds
stringData:
  ca.crt: |
    ca 1
  tls.crt: |
    crt 1
  tls.key: |
    key 1
type: kubernetes.io/tls
";
        let text = |id: &GatewayId| yaml::text(&manifest(id, &issued(1))).unwrap();
        assert_eq!(text(&GatewayId::mse("hongkong")), expect);
        let other = text(&GatewayId::alb("hongkong"));
        assert!(other.contains("  name: albconfig.hongkong-xds"), "{other}");
        assert!(other.contains("instance: AlbConfig.hongkong"), "{other}");
    }

    #[test]
    fn files_are_replaced_and_nobody_else_reads_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("xds");
        for number in [1, 2] {
            write_files(&dir, &issued(number)).unwrap();
            let check = |name: &str, text: &str, mode: u32| {
                let path = dir.join(name);
                assert_eq!(fs::read_to_string(&path).unwrap(), format!("{text} {number}\n"));
                let own = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
                // Whoever runs it may have a stricter mask.
                assert_eq!(own & !mode, 0, "{name}");
            };
            check("ca.crt", "ca", 0o644);
            check("tls.crt", "crt", 0o644);
            check("tls.key", "key", 0o600);
            // The next run is not stopped by what an interrupted one left.
            fs::write(dir.join("tls.key.new"), "half").unwrap();
        }
    }
}
