//! `convoy account`: Convoy's account in the fleet, to be installed there.

use std::{io::Write, process::ExitCode};

use anyhow::Result;

use crate::{
    cli::{flags, yaml},
    key::ObjectName,
    rbac::{Account, FLEET_ACCOUNT, FleetAccess, fleet_roles, manifests},
    source::registry::DEFAULT_NAMESPACES,
};

/// Print Convoy's account in the fleet: `convoy account | kubectl apply --server-side -f -`
///
/// A namespace, a ServiceAccount, and what it may do: read gateways, Ingresses, MemberClusters
/// and Secrets, and write status, Events, its own Lease and the Secret of its certificate authority. Accounts in members are made by
/// `convoy member add`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Namespace of the account and of its Lease
    #[arg(long, env = "CONVOY_NAMESPACE", value_name = "NAMESPACE")]
    #[arg(default_value = DEFAULT_NAMESPACES[0])]
    namespace: String,
    /// The only namespaces in which it may read Secrets: those of Ingresses with TLS, and those
    /// in which members are declared. They must exist. Without it, all
    ///
    /// RBAC cannot tell Secrets by their type. Convoy itself asks for Secrets of type
    /// `kubernetes.io/tls` only where an accepted Ingress names one, and for those that declare
    /// members.
    #[arg(long, env = "CONVOY_SECRET_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    secret_namespace: Vec<String>,
    /// The Service that `convoy serve --publish-service` names
    #[arg(long, env = "CONVOY_PUBLISH_SERVICE", value_name = "NAMESPACE/NAME")]
    #[arg(value_parser = flags::namespaced)]
    publish_service: Option<ObjectName>,
    /// The fleet is a member itself: how Envoys reach its Pods
    #[arg(long, env = "CONVOY_FLEET_NETWORK", value_name = "NETWORK")]
    fleet_network: Option<flags::NetworkName>,
    /// The Envoys of gateways are kept in the namespace, by `convoy serve --manage-gateways`
    #[arg(long, env = "CONVOY_MANAGE_GATEWAYS")]
    manage_gateways: bool,
    /// It keeps no certificate authority: `convoy serve --xds-cert-dir` has certificates
    #[arg(long, env = "CONVOY_NO_AUTHORITY")]
    no_authority: bool,
}

/// Prints all of it as YAML documents.
pub(super) fn run(args: &Args, out: &mut impl Write) -> Result<ExitCode> {
    let secrets = args.secret_namespace.iter().cloned().collect();
    let roles = fleet_roles(&FleetAccess {
        namespace: args.namespace.clone(),
        secrets: (!args.secret_namespace.is_empty()).then_some(secrets),
        publish_service: args.publish_service.clone(),
        member: args.fleet_network.map(Into::into),
        managed: args.manage_gateways,
        authority: !args.no_authority,
    });
    let account = Account {
        name: FLEET_ACCOUNT,
        namespace: &args.namespace,
        component: "control-plane",
        roles: &roles,
    };
    for manifest in manifests(&account) {
        yaml::print(&manifest.object, out)?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn printed(flags: &[&str]) -> String {
        let args = Cli::try_parse_from(["account"].iter().chain(flags)).unwrap().args;
        let mut out = Vec::new();
        run(&args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// `UPDATE_ACCOUNT=1 cargo test committed_account` writes the file anew.
    #[test]
    fn the_committed_account_is_what_is_printed() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/account.yaml");
        let text = printed(&[]);
        if std::env::var_os("UPDATE_ACCOUNT").is_some() {
            fs::write(&path, &text).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text);
    }

    #[test]
    fn flags_widen_and_narrow_what_is_granted() {
        let check = |flags: &[&str], expect: &str, is_there: bool| {
            let text = printed(flags);
            assert_eq!(text.contains(expect), is_there, "{flags:?} {expect}: {text}");
        };
        check(&[], "kind: Role\n", true);
        check(&[], "- pods\n", false);
        check(&["--fleet-network=underlay"], "- pods\n", true);
        check(&["--fleet-network=underlay"], "- nodes\n", false);
        check(&["--fleet-network=overlay"], "- nodes\n", true);
        check(&[], "namespace: shop\n", false);
        check(&["--secret-namespace=convoy-system,shop"], "namespace: shop\n", true);
        check(&[], "- deployments\n", false);
        check(&["--manage-gateways"], "- deployments\n", true);
        check(&["--publish-service=edge/envoy"], "namespace: edge\n", true);
        check(&[], "- convoy-authority\n", true);
        check(&["--no-authority"], "- convoy-authority\n", false);
        assert!(Cli::try_parse_from(["account", "--publish-service=envoy"]).is_err());
    }
}
