//! The names of Services, as a file of hosts.

use std::{
    fmt::Write as _,
    fs::{self, OpenOptions},
    io::Write as _,
    net::Ipv4Addr,
    path::Path,
};

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use super::{
    Known,
    table::{cluster_address, is_ready, of_service},
};

/// What the file says beside Services.
pub(in super::super) const OWN: &str = "127.0.0.1 localhost\n";

/// The lines of the file, sorted.
pub(super) fn of(known: &Known) -> String {
    let mut lines: Vec<String> =
        known.services.iter().flat_map(|service| lines(service, known)).collect();
    lines.sort_unstable();
    lines.dedup();
    let mut text = OWN.to_owned();
    text.extend(lines);
    text
}

/// The address of a Service; of a headless one those of its ready endpoints.
fn lines(service: &Service, known: &Known) -> Vec<String> {
    let name = format!("{}.{}", service.name_any(), service.namespace().unwrap_or_default());
    let line = |address: Ipv4Addr| {
        let mut line = String::new();
        writeln!(line, "{address} {name} {name}.svc {name}.svc.cluster.local").unwrap();
        line
    };
    if let Some(address) = cluster_address(service) {
        return vec![line(address)];
    }
    let endpoints =
        of_service(service, &known.slices).flat_map(|slice| slice.endpoints.iter().flatten());
    let addresses = endpoints.filter(|it| is_ready(it)).flat_map(|it| &it.addresses);
    addresses.filter_map(|it| it.parse().ok()).map(line).collect()
}

/// Changes the file in place, because it is mounted; who reads meanwhile never finds it empty.
pub(super) fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|now| now == text) {
        return;
    }
    let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_len(text.len().try_into().unwrap()).unwrap();
}
