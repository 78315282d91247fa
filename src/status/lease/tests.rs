use super::*;

const TERMS: Terms =
    Terms { duration: Duration::from_secs(15), renew_deadline: Duration::from_secs(10) };

/// Replicas, a stored lease and a clock that only goes when it is told to.
struct World {
    replicas: Vec<(Election, Knowledge)>,
    stored: Option<Record>,
    now: Instant,
    wall: i64,
}

impl World {
    fn new(n: usize) -> World {
        let replica = |n| (Election::new(format!("r{n}"), TERMS), Knowledge::default());
        World {
            replicas: (0..n).map(replica).collect(),
            stored: None,
            now: Instant::now(),
            wall: 1_700_000_000,
        }
    }

    fn sleep(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
        self.wall += secs as i64;
    }

    /// One round of a replica, whose request succeeds; whether it stored something.
    fn round(&mut self, n: usize) -> bool {
        let wall = Timestamp::from_second(self.wall).unwrap();
        let (election, own) = &mut self.replicas[n];
        let next = election.step(self.stored.as_ref(), own, self.now, wall);
        if let Some(record) = &next {
            election.stored(record, self.now);
            self.stored = next.clone();
        }
        next.is_some()
    }

    fn holders(&self) -> Vec<usize> {
        let holds = |election: &Election| election.held_until().is_some_and(|t| t > self.now);
        (0..self.replicas.len()).filter(|n| holds(&self.replicas[*n].0)).collect()
    }
}

#[test]
fn the_first_takes_it_and_keeps_it_while_it_renews() {
    let mut world = World::new(2);
    for _ in 0..100 {
        assert!(world.round(0));
        assert!(!world.round(1));
        assert_eq!(world.holders(), [0]);
        world.sleep(2);
    }
    assert_eq!(world.replicas[0].0.term(), 1);
    assert_eq!(world.stored.unwrap().transitions, 1);
}

#[test]
fn fault_c04_a_dead_holder_is_followed_and_never_overlapped() {
    let mut world = World::new(3);
    world.round(0);
    let mut seconds = 0;
    while world.holders() != [1] {
        assert!(world.holders().is_empty() || world.holders() == [0]);
        world.round(1);
        world.round(2);
        world.sleep(1);
        seconds += 1;
        assert!(seconds < 20, "nobody follows");
    }
    assert!(seconds >= 15, "{seconds}");
    assert_eq!(world.stored.clone().unwrap().transitions, 2);
    // The first one comes back and is told.
    world.round(0);
    assert_eq!(world.holders(), [1]);
}

#[test]
fn fault_c05_a_paused_holder_does_not_write_before_it_looks() {
    let mut world = World::new(2);
    world.round(0);
    world.round(1);
    world.sleep(60);
    assert_eq!(world.holders(), [] as [usize; 0]);
    // Nobody followed: it may go on, but what it knew is not trusted.
    world.round(0);
    assert_eq!((world.holders(), world.replicas[0].0.term()), (vec![0], 2));
    // Somebody followed.
    world.round(1);
    world.sleep(60);
    world.round(1);
    world.round(0);
    assert_eq!(world.holders(), [1]);
}

#[test]
fn a_clock_that_is_wrong_by_years_changes_nothing() {
    let mut world = World::new(2);
    world.round(0);
    world.round(1);
    for skew in [-1_000_000_000, 2_000_000_000] {
        world.sleep(2);
        world.wall += skew;
        world.round(1);
        world.round(0);
        assert_eq!(world.holders(), [0]);
    }
}

#[test]
fn a_renewal_that_fails_ends_it_before_anybody_follows() {
    let mut world = World::new(1);
    world.round(0);
    let wall = Timestamp::from_second(world.wall).unwrap();
    for _ in 0..4 {
        world.sleep(2);
        let (election, own) = &mut world.replicas[0];
        // Decided, and never stored.
        assert!(election.step(world.stored.as_ref(), own, world.now, wall).is_some());
    }
    assert_eq!(world.holders(), [0]);
    world.sleep(2);
    assert_eq!(world.holders(), [] as [usize; 0]);
}

#[test]
fn a_lease_given_back_is_taken_at_once() {
    let mut world = World::new(2);
    world.round(0);
    world.round(1);
    world.stored = world.replicas[0].0.release(&world.stored.clone().unwrap());
    assert_eq!(world.holders(), [] as [usize; 0]);
    world.round(1);
    assert_eq!(world.holders(), [1]);
    let stored = world.stored.clone().unwrap();
    assert_eq!(world.replicas[0].0.release(&stored), None);
}

#[test]
fn replicas_tell_the_holder_which_gateways_have_envoys() {
    let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
    let mut world = World::new(2);
    world.round(0);
    world.replicas[1].1.acknowledged = set(&["a", "b"]);
    assert!(world.round(1));
    assert!(!world.round(1), "said once");
    assert_eq!(world.holders(), [0]);
    world.replicas[0].1 = Knowledge { acknowledged: set(&["c"]), declared: None };
    world.round(0);
    assert_eq!(world.stored.clone().unwrap().acknowledged, set(&["a", "b", "c"]));
    // The holder forgets what is gone.
    world.replicas[0].1.declared = Some(set(&["a", "c", "d"]));
    world.round(0);
    assert_eq!(world.stored.clone().unwrap().acknowledged, set(&["a", "c"]));
}
