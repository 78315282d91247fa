//! Pods as processes, and the objects that a member's API would show for them.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::fleet::{Fleet, NAMESPACE};

/// A Deployment and its Service in one member, to be.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) member: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) service: &'static str,
    env: String,
    port: Value,
    target: u16,
    replicas: usize,
}

/// `replicas` pods behind port 80 of a Service. The pods of `service1` answer with the guide's
/// `ENV_NAME` for their member, all others with the name of their Service.
pub(crate) fn workload(member: &'static str, service: &'static str, replicas: usize) -> Workload {
    let env = match service {
        "service1" => format!("cluster-demo-{}", member.trim_start_matches('c')),
        other => other.to_owned(),
    };
    let port = json!({"port": 80, "protocol": "TCP"});
    Workload { member, namespace: NAMESPACE, service, env, port, target: 8080, replicas }
}

impl Workload {
    pub(crate) fn env(mut self, env: &str) -> Workload {
        self.env = env.to_owned();
        self
    }

    pub(crate) fn namespace(mut self, namespace: &'static str) -> Workload {
        self.namespace = namespace;
        self
    }

    pub(crate) fn target(mut self, target: u16) -> Workload {
        self.target = target;
        self
    }

    /// The Service's port; the pods' own port stays the target.
    pub(crate) fn port(mut self, name: &str, number: u16) -> Workload {
        self.port = json!({"name": name, "port": number, "protocol": "TCP"});
        self
    }
}

/// The node of every pod; no cluster has it.
const ELSEWHERE: &str = "elsewhere";

/// What an EndpointSlice says about a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Ready,
    NotReady,
    Terminating,
    /// Not in the slice at all; its process may live on.
    Gone,
}

struct Pod {
    name: String,
    address: Ipv4Addr,
    state: State,
}

/// A workload that runs.
pub(crate) struct Running {
    spec: Workload,
    subnet: [u8; 3],
    pods: Vec<Pod>,
    processes: Vec<Process>,
    record: PathBuf,
}

impl Running {
    /// Starts the pods of `spec` on addresses below `subnet`; deliveries are recorded in `dir`.
    pub(crate) fn start(spec: Workload, subnet: [u8; 3], dir: &Path, fleet: &Fleet) -> Running {
        let file = format!("{}-{}-{}.deliveries", spec.member, spec.namespace, spec.service);
        let replicas = spec.replicas;
        let mut running = Running {
            record: dir.join(file),
            spec,
            subnet,
            pods: Vec::new(),
            processes: Vec::new(),
        };
        running.scale(replicas, fleet);
        running.publish_as(running.spec.service, fleet);
        running
    }

    /// The first `n` pods are ready, started where they never ran; the others leave the slice but
    /// keep running, so that nothing but the slice keeps traffic away.
    pub(crate) fn scale(&mut self, n: usize, fleet: &Fleet) {
        let [a, b, c] = self.subnet;
        let fresh = self.pods.len()..n;
        for idx in fresh.clone() {
            let name = format!("{}-{}-{}", self.spec.service, self.spec.member, idx + 1);
            let address = Ipv4Addr::new(a, b, c, u8::try_from(idx + 1).unwrap());
            self.pods.push(Pod { name, address, state: State::Ready });
        }
        if !fresh.is_empty() {
            self.processes.push(self.launch(&self.pods[fresh]));
        }
        for (idx, pod) in self.pods.iter_mut().enumerate() {
            pod.state = if idx < n { State::Ready } else { State::Gone };
        }
        self.publish_slice(fleet);
    }

    /// Says something else about pod `idx`, counted from zero.
    pub(crate) fn set(&mut self, idx: usize, state: State, fleet: &Fleet) {
        self.pods[idx].state = state;
        self.publish_slice(fleet);
    }

    /// Shows a Pod object with a label for pod `idx`, counted from zero.
    pub(crate) fn label(&self, idx: usize, key: &str, value: &str, fleet: &Fleet) {
        let name = &self.pods[idx].name;
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.spec.namespace, "labels": {key: value}},
            // Its process is here: no machine of the member is to run it.
            "spec": {"nodeName": ELSEWHERE, "containers": [{"name": "web", "image": "web-demo"}]},
        });
        fleet.member_object(self.spec.member, &self.file(name, "pod"), &pod);
    }

    fn launch(&self, pods: &[Pod]) -> Process {
        let mut arguments = vec![
            format!("--env={}", self.spec.env),
            format!("--cluster={}", self.spec.member),
            format!("--svc={}", self.spec.service),
            format!("--record={}", self.record.display()),
        ];
        let pod = |pod: &Pod| format!("--pod={}={}:{}", pod.name, pod.address, self.spec.target);
        arguments.extend(pods.iter().map(pod));
        Process::start(arguments)
    }

    /// The slice also has an address that is not of these pods.
    pub(crate) fn also_at(&mut self, address: SocketAddr, fleet: &Fleet) {
        let SocketAddr::V4(v4) = address else { panic!("the bed's addresses are IPv4") };
        let name = format!("{}-{}-borrowed", self.spec.service, self.spec.member);
        self.pods.push(Pod { name, address: *v4.ip(), state: State::Ready });
        self.publish_slice(fleet);
    }

    /// A Service of that name selects these pods; the pods and what they say stay.
    pub(crate) fn publish_as(&self, name: &str, fleet: &Fleet) {
        // First what means nothing by itself, so that the Service appears with its endpoints.
        self.publish_slice_as(name, fleet);
        let mut port = self.spec.port.clone();
        port["targetPort"] = self.spec.target.into();
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": self.spec.namespace},
            "spec": {"type": "ClusterIP", "ports": [port], "selector": {"app": self.spec.service}},
        });
        fleet.member_object(self.spec.member, &self.file(name, "service"), &service);
    }

    /// The Service of that name and its slice are deleted.
    pub(crate) fn unpublish(&self, name: &str, fleet: &Fleet) {
        for what in ["service", "endpointslice"] {
            fleet.delete_member_object(self.spec.member, &self.file(name, what));
        }
    }

    fn publish_slice(&self, fleet: &Fleet) {
        self.publish_slice_as(self.spec.service, fleet);
    }

    fn publish_slice_as(&self, service: &str, fleet: &Fleet) {
        let endpoints: Vec<_> = self.pods.iter().filter_map(|pod| self.endpoint(pod)).collect();
        let port_name = self.spec.port["name"].as_str().unwrap_or_default();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{service}-1"),
                "namespace": self.spec.namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": port_name, "port": self.spec.target, "protocol": "TCP"}],
            "endpoints": endpoints,
        });
        fleet.member_object(self.spec.member, &self.file(service, "endpointslice"), &slice);
    }

    fn endpoint(&self, pod: &Pod) -> Option<Value> {
        let (ready, terminating) = match pod.state {
            State::Ready => (true, false),
            State::NotReady => (false, false),
            State::Terminating => (false, true),
            State::Gone => return None,
        };
        Some(json!({
            "addresses": [pod.address],
            "conditions": {"ready": ready, "serving": ready || terminating, "terminating": terminating},
            "targetRef": {"kind": "Pod", "name": pod.name, "namespace": self.spec.namespace},
        }))
    }

    fn file(&self, name: &str, kind: &str) -> String {
        format!("{kind}-{}-{name}", self.spec.namespace)
    }

    /// SIGKILL: connections are reset, and new ones refused.
    pub(crate) fn kill(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// SIGKILL for the pods that the last growth started, and for them only.
    pub(crate) fn kill_newest(&mut self) {
        self.processes.last_mut().unwrap().kill();
    }

    /// The same pods again on the same addresses.
    pub(crate) fn revive(&mut self) {
        self.processes = vec![self.launch(&self.pods)];
    }

    /// SIGSTOP: connections are still accepted, by the kernel, and nothing answers.
    pub(crate) fn pause(&self) {
        self.processes.iter().for_each(|process| process.signal(Signal::SIGSTOP));
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.processes.iter().for_each(|process| process.signal(Signal::SIGCONT));
    }

    /// Where pod `idx`, counted from zero, listens.
    pub(crate) fn address(&self, idx: usize) -> SocketAddr {
        (self.pods[idx].address, self.spec.target).into()
    }

    /// The ids of the requests that reached these pods, as often as they did.
    pub(crate) fn deliveries(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// One process with one or more pods.
struct Process(Child);

impl Process {
    /// Returns when all its pods listen.
    fn start(arguments: Vec<String>) -> Process {
        let mut child = Command::new(env!("CARGO_BIN_EXE_convoy"))
            .arg("echo")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "listening", "a backend did not start; its reason is above");
        Process(child)
    }

    fn kill(&mut self) {
        // It may have been killed before.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.0.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
