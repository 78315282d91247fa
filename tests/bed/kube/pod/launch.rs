//! How a run of a container begins: its program, with what it is to see.

use std::{
    fs::{self, File, OpenOptions},
    process::Stdio,
};

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateRunning};
use kube::ResourceExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::{
    container::{Container, Life},
    env::{Environment, expand},
    image::Image,
    inside::Inside,
    probe::Prober,
    root::Root,
    status::now,
    user::User,
};

/// Where web-demo listens: the guide's manifest says nothing, its Service does.
const WEB_DEMO_PORT: u16 = 8080;

/// Why a container does not run: reason and message, as a kubelet gives them.
pub(super) type Refusal = (&'static str, String);

impl Container {
    pub(super) async fn launch(&self) -> Result<Life, Refusal> {
        let image = Image::of(&self.spec)
            .map_err(|other| ("ErrImagePull", format!("the bed has no image {other}")))?;
        self.refuse_unknown().map_err(|why| ("CreateContainerConfigError", why))?;
        let environment = self.shared.environment(&self.spec).await;
        let environment = environment.map_err(|why| ("CreateContainerConfigError", why))?;
        let user = User::of(self.shared.spec(), &self.spec, image);
        let user = user.map_err(|why| ("CreateContainerConfigError", why))?;
        let inside = Inside {
            address: self.shared.place.address,
            container: self.spec.clone(),
            environment,
            pid: None,
            prefix: if image.is_isolated() { user.prefix() } else { Vec::new() },
            log: self.shared.log(&self.spec.name),
        };
        let mut life = Life { process: None, prober: None, inside };
        self.start(image, &mut life).await?;
        let since = ContainerStateRunning { started_at: Some(now()) };
        self.note(|it| {
            it.state = Some(ContainerState { running: Some(since), ..ContainerState::default() });
        });
        Ok(life)
    }

    /// What the bed would have to leave out must not be believed to work.
    fn refuse_unknown(&self) -> Result<(), String> {
        let spec = &self.spec;
        let post_start = spec.lifecycle.as_ref().is_some_and(|it| it.post_start.is_some());
        for (name, is_there) in [
            ("envFrom", spec.env_from.is_some()),
            ("workingDir", spec.working_dir.is_some()),
            ("postStart", post_start),
        ] {
            if is_there {
                return Err(format!("the bed does not know {name}"));
            }
        }
        Ok(())
    }

    /// Starts the process and waits until its first line says that it runs.
    pub(super) async fn start(&self, image: Image, life: &mut Life) -> Result<(), Refusal> {
        let failed = |e: std::io::Error| ("RunContainerError", e.to_string());
        let log = self.open_log().map_err(failed)?;
        let mut command = if image.is_isolated() {
            self.isolated(image, &life.inside).map_err(|why| ("CreateContainerError", why))?
        } else {
            self.web_demo(&life.inside.environment)
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        // A signal of the end reaches what the process started, too.
        command.process_group(0).kill_on_drop(true);
        let mut process = command.spawn().map_err(failed)?;
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        match lines.next_line().await.map_err(failed)? {
            Some(line) if image.is_isolated() => life.inside.pid = line.parse().ok(),
            Some(_) => {}
            None => return Err(("RunContainerError", life.inside.last_words())),
        }
        let id = process.id().expect("nobody has waited for it");
        let running = (id, life.inside.clone());
        self.shared.running.lock().unwrap().insert(self.spec.name.clone(), running);
        life.process = Some(process);
        life.prober = Some(Prober::start(&life.inside));
        Ok(())
    }

    pub(super) fn open_log(&self) -> std::io::Result<File> {
        let path = self.shared.log(&self.spec.name);
        fs::create_dir_all(path.parent().expect("it is in a directory"))?;
        OpenOptions::new().create(true).append(true).open(path)
    }

    fn isolated(&self, image: Image, inside: &Inside) -> Result<Command, String> {
        let surroundings = &self.surroundings;
        let sandbox = surroundings.sandbox.as_ref().expect("a pod of such a container has one");
        let program = image.program().map(|(file, to)| (file, to.to_owned()));
        let mut mounts: Vec<_> = program.into_iter().collect();
        for mount in self.spec.volume_mounts.iter().flatten() {
            let source = surroundings.volumes.source(mount)?;
            mounts.push((source, mount.mount_path.trim_end_matches('/').to_owned()));
        }
        let security = self.spec.security_context.as_ref();
        let root = Root {
            dir: self.shared.dir().join("roots").join(&self.spec.name),
            hosts: self.shared.place.hosts.clone(),
            mounts,
            is_read_only: security.is_some_and(|it| it.read_only_root_filesystem == Some(true)),
        };
        fs::create_dir_all(&root.dir).map_err(|e| e.to_string())?;
        let line = image.command_line(&self.spec);
        let line = line.iter().map(|word| expand(word, &inside.environment));
        let line: Vec<_> = inside.prefix.iter().cloned().chain(line).collect();
        let mut command = sandbox.enter();
        root.enter(&mut command, &line);
        command.env_clear().envs(&inside.environment);
        Ok(command)
    }

    fn web_demo(&self, environment: &Environment) -> Command {
        let place = &self.shared.place;
        let declared = self.spec.ports.iter().flatten().next().map(|port| port.container_port);
        let port = declared.map_or(WEB_DEMO_PORT, |port| port.try_into().unwrap());
        let app = self.shared.pod.labels().get("app").map_or("", String::as_str);
        let env = environment.get("ENV_NAME").map_or("", String::as_str);
        let mut command = Command::new(env!("CARGO_BIN_EXE_convoy"));
        command
            .arg("echo")
            .arg(format!("--env={env}"))
            .arg(format!("--cluster={}", place.cluster))
            .arg(format!("--svc={app}"))
            .arg(format!("--pod={}={}:{port}", self.shared.pod.name_any(), place.address))
            .arg(format!("--record={}", place.record.display()));
        command
    }
}
