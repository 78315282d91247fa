//! Any history: replicas that read and write in turns, operators who ask and delete, API servers
//! that answer late or not at all. Whoever proves itself with a certificate that has not ended is
//! trusted by everybody whose bundle is not older than `overlap`.

use proptest::prelude::*;

use super::*;

/// What happens next, and to which replica.
#[derive(Clone, Debug)]
enum Event {
    /// Seconds pass, and then this replica looks: the API is not away for ever.
    Wait(u64, usize),
    /// A replica reads, and may be slow to write what it planned, within the limit of a request.
    Read(usize),
    /// It writes, unless another one wrote meanwhile.
    Write(usize),
    /// It issues certificates, for itself and for an Envoy.
    Issue(usize),
    /// An operator asks for a rotation.
    Ask,
    /// Somebody deletes the Secret.
    Delete,
    /// A replica starts anew and knows nothing.
    Restart(usize),
}

const REPLICAS: usize = 3;

fn events() -> impl Strategy<Value = Vec<Event>> {
    let replica = 0..REPLICAS;
    let event = prop_oneof![
        6 => (1..15_u64, replica.clone()).prop_map(|(seconds, own)| Event::Wait(seconds, own)),
        3 => replica.clone().prop_map(Event::Read),
        3 => replica.clone().prop_map(Event::Write),
        6 => replica.clone().prop_map(Event::Issue),
        1 => Just(Event::Ask),
        1 => Just(Event::Delete),
        1 => replica.prop_map(Event::Restart),
    ];
    prop::collection::vec(event, 1..80)
}

/// What a replica holds.
#[derive(Clone, Default)]
struct Replica {
    known: Option<Content>,
    /// When it was true.
    read_at: u64,
    /// What it is about to write, over which version, and since when.
    planned: Option<(Content, Option<u64>, u64)>,
}

/// A certificate that somebody holds.
struct Held {
    issuer: super::super::certificate::Root,
    from: u64,
    until: u64,
}

#[derive(Default)]
struct World {
    now: u64,
    /// The Secret, and its version.
    stored: Option<(Content, u64)>,
    version: u64,
    asked: u32,
    replicas: [Replica; REPLICAS],
    certificates: Vec<Held>,
    /// Bundles that somebody holds: since when each was true, and what it trusts.
    bundles: Vec<(u64, Vec<super::super::certificate::Root>)>,
}

impl World {
    fn play(&mut self, event: Event) {
        match event {
            Event::Wait(seconds, replica) => {
                self.now += seconds;
                self.read(replica);
                self.write(replica);
            }
            Event::Read(replica) => self.read(replica),
            Event::Write(replica) => self.write(replica),
            Event::Issue(replica) => self.issue(replica),
            Event::Ask => self.asked += 1,
            // Rarer than a rotation: what a replica knows is not restored when it is too old.
            Event::Delete if self.is_well_known() => self.stored = None,
            Event::Delete => {}
            Event::Restart(replica) => {
                let others = self.replicas.iter().enumerate();
                let mut others = others.filter(|(idx, own)| *idx != replica && own.known.is_some());
                // When nobody knows the authority, a Secret that is gone is lost.
                if self.stored.is_some() || others.next().is_some() {
                    self.replicas[replica] = Replica::default();
                }
            }
        }
    }

    fn is_well_known(&self) -> bool {
        self.replicas.iter().all(|own| own.known.is_some() && self.is_fresh(own))
    }

    fn is_fresh(&self, replica: &Replica) -> bool {
        self.now - replica.read_at <= TIMINGS.overlap.as_secs()
    }

    fn read(&mut self, replica: usize) {
        let (now, asked) = (self.now, self.asked.to_string());
        let found = match &self.stored {
            None => Found::Nothing,
            Some((content, _)) => Found::Content(content.clone().into()),
        };
        // Nobody who knows nothing makes an authority while others know one: they are quicker.
        let others = self.replicas.iter().any(|own| own.known.is_some());
        let own = &mut self.replicas[replica];
        if own.known.is_none() && self.stored.is_none() && others {
            return;
        }
        if let Found::Content(content) = &found {
            (own.known, own.read_at) = (Some(content.as_ref().clone()), now);
        }
        let asked = (self.asked > 0).then_some(asked.as_str());
        let plan = plan(own.known.as_ref(), found, asked, at(now), &TIMINGS).unwrap();
        let version = self.stored.as_ref().map(|(_, version)| *version);
        own.planned = match plan {
            Plan::Write(next) => Some((next, version, now)),
            Plan::Adopt(_) | Plan::Keep(_) => None,
        };
    }

    fn write(&mut self, replica: usize) {
        let own = &mut self.replicas[replica];
        let Some((next, over, since)) = own.planned.take() else { return };
        let is_too_late = self.now - since > TIMINGS.request.as_secs();
        if is_too_late || over != self.stored.as_ref().map(|(_, version)| *version) {
            return;
        }
        self.version += 1;
        self.stored = Some((next.clone(), self.version));
        (own.known, own.read_at) = (Some(next), self.now);
    }

    fn issue(&mut self, replica: usize) {
        let own = self.replicas[replica].clone();
        let Some(content) = own.known.clone().filter(|_| self.is_fresh(&own)) else { return };
        let authority = authority(content.clone());
        let issued = authority.issue(&gateway(), at(self.now)).unwrap();
        assert!(is_client(&issued.certificate, &issued.authorities, self.now));
        let end = content.signer.root.validity.not_after.min(at(self.now) + TIMINGS.leaf);
        let until = end.duration_since(at(0)).unwrap_or_default().as_secs();
        self.certificates.push(Held { issuer: content.signer.root.clone(), from: self.now, until });
        self.bundles.push((own.read_at, content.trusted().cloned().collect()));
    }

    /// Everybody with everybody.
    fn check(&mut self) {
        let now = self.now;
        self.certificates.retain(|own| now <= own.until);
        self.bundles.retain(|(since, _)| now - since <= TIMINGS.overlap.as_secs());
        for certificate in &self.certificates {
            for (since, bundle) in &self.bundles {
                assert!(
                    bundle.contains(&certificate.issuer),
                    "at {now}: a certificate of {} is not trusted by a bundle of {since}",
                    certificate.from
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn fault_d08_whoever_has_a_valid_certificate_is_trusted(events in events()) {
        let mut world = World::default();
        for event in events {
            world.play(event);
            world.check();
        }
    }
}
