//! Three nodes, a store of leases and a bad broker, all simulated: no socket, no runtime, no clock.

mod cluster;

use super::*;
use cluster::{Broker, Cluster, SECOND, id, user};

fn told(changes: &[(usize, &str, bool)]) -> Vec<(usize, String, bool)> {
    changes
        .iter()
        .map(|(node, name, online)| (*node, (*name).to_owned(), *online))
        .collect()
}

#[test]
fn who_comes_is_online_on_every_node_at_once() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    assert_eq!(
        cluster.told(),
        told(&[(0, "ana", true), (1, "ana", true), (2, "ana", true)])
    );
    for node in 0..3 {
        let expected = PresenceSignal {
            user: user("ana"),
            online: true,
            as_of: cluster.wall(),
        };
        assert_eq!(cluster.state(node, "ana"), expected);
    }
    assert_eq!(cluster.states("ben"), [false; 3]);
}

#[test]
fn a_second_connection_changes_nothing_and_neither_does_its_end() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.connect(0, "ana");
    cluster.connect(1, "ana");
    cluster.told();
    cluster.disconnect(0, "ana");
    cluster.disconnect(1, "ana");
    cluster.run(30 * SECOND);
    assert_eq!(cluster.states("ana"), [true; 3]);
    assert_eq!(cluster.told(), []);
}

#[test]
fn a_reload_shows_no_flap() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.told();
    for node in [0, 1, 0, 0, 2] {
        let last = (0..3)
            .find(|node| cluster.nodes[*node].as_ref().unwrap().own.has(&user("ana")))
            .unwrap();
        cluster.disconnect(last, "ana");
        cluster.run(Duration::from_millis(9_900));
        cluster.connect(node, "ana");
        cluster.run(11 * SECOND);
        assert_eq!(cluster.states("ana"), [true; 3]);
    }
    assert_eq!(cluster.told(), [], "each came back within the grace, here or elsewhere");
}

#[test]
fn who_leaves_is_offline_after_the_grace() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.told();
    cluster.disconnect(0, "ana");
    cluster.run(Duration::from_millis(9_999));
    assert_eq!(cluster.states("ana"), [true; 3]);
    cluster.run(Duration::from_millis(1));
    assert_eq!(
        cluster.told(),
        told(&[(0, "ana", false), (1, "ana", false), (2, "ana", false)])
    );
    assert_eq!(cluster.states("ana"), [false; 3]);
}

#[test]
fn users_of_a_killed_node_are_offline_everywhere_within_15_s() {
    for after in (0..4_000).step_by(125) {
        let mut cluster = Cluster::new();
        cluster.connect(0, "ana");
        cluster.connect(0, "ben");
        cluster.connect(1, "ben");
        cluster.run(Duration::from_millis(after));
        cluster.told();
        cluster.nodes[0] = None;
        cluster.run(5 * SECOND);
        assert_eq!(cluster.states("ana"), [true; 2], "its lease holds");
        assert_eq!(cluster.nodes[1].as_ref().unwrap().nodes(), 3);
        cluster.run(10 * SECOND);
        assert_eq!(cluster.states("ana"), [false; 2], "killed {after} ms later");
        assert_eq!(cluster.states("ben"), [true; 2], "online elsewhere");
        assert_eq!(cluster.told(), told(&[(1, "ana", false), (2, "ana", false)]));
        assert_eq!(cluster.nodes[1].as_ref().unwrap().nodes(), 2);
        assert_eq!(cluster.nodes[1].as_ref().unwrap().peers.len(), 1);
    }
}

#[test]
fn a_lease_that_runs_out_is_looked_at_again_at_that_moment() {
    for after in (0..4_000).step_by(125) {
        let mut cluster = Cluster::new();
        cluster.connect(0, "ana");
        cluster.run(Duration::from_millis(after));
        cluster.nodes[0] = None;
        cluster.run(Duration::from_millis(10_100));
        assert_eq!(cluster.states("ana"), [false; 2], "killed {after} ms later");
    }
}

#[test]
fn a_lease_that_ran_out_and_is_no_longer_listed_was_not_given_back() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.nodes[0] = None;
    cluster.run(9 * SECOND);
    cluster.now += SECOND;
    cluster.leases.remove(&id(0));
    cluster.run(5 * SECOND);
    assert_eq!(cluster.states("ana"), [false; 2], "no grace");
}

#[test]
fn a_late_bell_of_a_dead_node_makes_no_ghost() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    let late = cluster.nodes[0].as_ref().unwrap().own.all(48 * 1024).next().unwrap();
    cluster.nodes[0] = None;
    cluster.run(15 * SECOND);
    cluster.told();
    cluster.input(1, Input::Bell(id(0), late));
    cluster.run(30 * SECOND);
    assert_eq!(cluster.states("ana"), [false; 2]);
    assert_eq!(cluster.told(), []);
}

#[test]
fn silent_bells_make_the_picture_older_and_nobody_offline() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    let heard = cluster.wall();
    cluster.told();
    cluster.broker.lost = 100;
    cluster.run(3_600 * SECOND);
    assert_eq!(cluster.told(), []);
    assert_eq!(cluster.state(0, "ana").as_of, cluster.wall());
    for node in [1, 2] {
        assert!(cluster.state(node, "ana").online);
        let as_of = cluster.state(node, "ana").as_of;
        assert!(as_of >= heard && as_of.0 <= heard.0 + 4_000, "{as_of} against {heard}");
        let offline = cluster.state(node, "ben");
        assert!(
            !offline.online && offline.as_of.0 <= heard.0 + 4_000,
            "as old as the node that is silent"
        );
    }
    cluster.broker.lost = 0;
    cluster.run(5 * SECOND);
    assert!(
        cluster.wall().0 - cluster.state(1, "ana").as_of.0 <= 4_000,
        "heard again"
    );
}

#[test]
fn what_happened_in_silence_is_asked_for() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.broker.lost = 100;
    cluster.connect(0, "ben");
    cluster.disconnect(0, "ana");
    cluster.run(20 * SECOND);
    assert_eq!(cluster.states("ben"), [true, false, false]);
    cluster.told();
    cluster.broker.lost = 0;
    cluster.run(5 * SECOND);
    assert_eq!(cluster.states("ben"), [true; 3]);
    assert_eq!(cluster.states("ana"), [false; 3]);
    let mut changes = cluster.told();
    changes.sort();
    assert_eq!(
        changes,
        told(&[(1, "ana", false), (1, "ben", true), (2, "ana", false), (2, "ben", true)])
    );
}

#[test]
fn any_number_of_lost_late_and_repeated_bells_is_healed() {
    for seed in 0..200 {
        let mut cluster = Cluster::new();
        cluster.broker = Broker {
            lost: 30,
            twice: 20,
            delay: 3_000,
            random: seed,
            ..Broker::default()
        };
        let mut connections: Vec<(usize, String)> = Vec::new();
        for _ in 0..60 {
            if cluster.broker.below(2) == 0 || connections.is_empty() {
                let node = usize::try_from(cluster.broker.below(3)).unwrap();
                let name = format!("user-{}", cluster.broker.below(8));
                cluster.connect(node, &name);
                connections.push((node, name));
            } else {
                let at = usize::try_from(cluster.broker.below(connections.len() as u64)).unwrap();
                let (node, name) = connections.swap_remove(at);
                cluster.disconnect(node, &name);
            }
            let pause = cluster.broker.below(4_000);
            cluster.run(Duration::from_millis(pause));
        }
        cluster.run(60 * SECOND);
        for number in 0..8 {
            let name = format!("user-{number}");
            let online = connections.iter().any(|(_, connected)| *connected == name);
            assert_eq!(cluster.states(&name), [online; 3], "{name} with seed {seed}");
            for node in 0..3 {
                let of_user = |(at, user, _): &&(usize, String, bool)| *at == node && *user == name;
                let last = cluster
                    .told
                    .iter()
                    .rev()
                    .find(of_user)
                    .is_some_and(|(.., online)| *online);
                assert_eq!(last, online, "{name} as told on node {node} with seed {seed}");
            }
        }
    }
}

#[test]
fn a_node_that_starts_learns_of_everybody_at_once() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.connect(1, "ben");
    cluster.start();
    assert_eq!(cluster.state(3, "cem").as_of, Timestamp::ZERO, "nothing was heard yet");
    cluster.run(Duration::ZERO);
    for name in ["ana", "ben"] {
        assert_eq!(cluster.states(name), [true; 4]);
    }
    assert_eq!(cluster.state(3, "cem").as_of, cluster.wall());
    cluster.connect(3, "cem");
    assert_eq!(cluster.states("cem"), [true; 4]);
}

#[test]
fn a_node_whose_lease_is_never_seen_is_not_believed_for_long() {
    let mut cluster = Cluster::new();
    let digest = Digest::of(&user("eve"));
    let bell = PresenceBell::Changed {
        version: 1,
        digest,
        user: user("eve"),
        online: true,
    };
    cluster.input(1, Input::Bell(id(77), bell));
    assert!(
        cluster.state(1, "eve").online,
        "it may have started after the last reading"
    );
    cluster.run(9 * SECOND);
    assert!(!cluster.state(1, "eve").online);
}

#[test]
fn users_of_a_node_that_left_in_good_order_have_the_grace_to_come_back() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.connect(0, "ben");
    cluster.told();
    cluster.nodes[0] = None;
    cluster.leases.remove(&id(0));
    cluster.run(8 * SECOND);
    cluster.connect(1, "ana");
    cluster.run(20 * SECOND);
    assert_eq!(cluster.states("ana"), [true; 2]);
    assert_eq!(cluster.states("ben"), [false; 2]);
    assert_eq!(cluster.told(), told(&[(1, "ben", false), (2, "ben", false)]));
}

#[test]
fn a_node_that_cannot_renew_is_unverified_until_it_can() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.connect(1, "ben");
    cluster.told();
    cluster.cut_from_store.insert(0);
    cluster.run(15 * SECOND);
    assert_eq!(cluster.verified, [(0, false)]);
    assert_eq!(
        cluster.states("ana"),
        [true, false, false],
        "the others go by its lease"
    );
    assert_eq!(cluster.told(), told(&[(1, "ana", false), (2, "ana", false)]));
    let as_of = cluster.state(0, "ana").as_of;
    assert!(
        cluster.wall().0 - as_of.0 >= 11_000,
        "its own sockets are as of its last renewal"
    );
    assert_eq!(
        cluster.states("ben"),
        [true; 3],
        "who cannot read the leases forgets nobody"
    );

    cluster.cut_from_store.clear();
    cluster.run(6 * SECOND);
    assert_eq!(cluster.verified, [(0, false), (0, true)]);
    assert_eq!(cluster.states("ana"), [true; 3]);
    assert_eq!(cluster.told(), told(&[(1, "ana", true), (2, "ana", true)]));
    assert_eq!(cluster.state(0, "ana").as_of, cluster.wall());
}

#[test]
fn who_left_while_their_node_stood_still_is_not_shown_online_again() {
    // The others look at the leases at any time.
    for quarters in 80..96 {
        let mut cluster = Cluster::new();
        for name in ["ana", "ben", "cem"] {
            cluster.connect(0, name);
        }
        let stopped = cluster.nodes[0].take();
        cluster.run(quarters * SECOND / 4);
        assert_eq!(cluster.states("ben"), [false; 2]);
        cluster.nodes[0] = stopped;
        cluster.told();

        // It goes on, and its sockets tell who has left, some at once, one that was cut off when it does not answer.
        cluster.input(0, Input::Tick);
        cluster.run(SECOND * 4 / 5);
        cluster.disconnect(0, "ben");
        cluster.run(8 * SECOND);
        assert_eq!(cluster.states("ana"), [true; 3]);
        assert_eq!(cluster.states("cem"), [true; 3], "nobody knows better yet");
        cluster.disconnect(0, "cem");
        assert_eq!(
            cluster.states("cem"),
            [false; 3],
            "and had no grace: who knows for how long they have been away"
        );
        let told = cluster.told();
        assert!(!told.contains(&(1, "ben".to_owned(), true)), "no ghost: {told:?}");

        // Later everything is as ever.
        cluster.run(10 * SECOND);
        cluster.disconnect(0, "ana");
        cluster.run(9 * SECOND);
        assert_eq!(cluster.states("ana"), [true; 3]);
    }
}

#[test]
fn a_store_that_is_away_makes_nobody_offline() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    cluster.told();
    cluster.cut_from_store.extend(0..3);
    cluster.run(300 * SECOND);
    assert_eq!(cluster.states("ana"), [true; 3]);
    assert_eq!(cluster.told(), []);
}

#[test]
fn a_long_list_travels_in_parts_that_a_bell_can_carry() {
    use crate::bell::BellCodec;
    use crate::store::Secret;

    let mut cluster = Cluster::new();
    cluster.broker.lost = 100;
    // Every character needs a backslash: the longest that a user id can be in JSON.
    let names: Vec<String> = (0..1_500)
        .map(|number| format!("{}{number:04}", "\"".repeat(124)))
        .collect();
    names.iter().for_each(|name| cluster.connect(0, name));
    let codec = BellCodec::new(&Secret([1; 32]), id(0), 48 * 1024);
    let own = &cluster.nodes[0].as_ref().unwrap().own;
    let parts: Vec<PresenceBell> = own.all(codec.users_bytes_max()).collect();
    assert!(parts.len() > 3);
    for part in &parts {
        assert!(codec.seal(&Bell::Presence(part.clone())).is_some());
    }
    cluster.told();
    for part in parts.into_iter().rev() {
        assert_eq!(cluster.told(), [], "only a whole list counts");
        cluster.input(1, Input::Bell(id(0), part));
    }
    assert_eq!(cluster.told().len(), names.len());
    assert!(names.iter().all(|name| cluster.state(1, name).online));
}

#[test]
fn parts_of_two_lists_are_not_mixed() {
    let mut cluster = Cluster::new();
    let part = |version: u64, part: u32, name: &str, digest: Digest| PresenceBell::All {
        version,
        digest,
        part,
        parts: 2,
        users: vec![user(name)],
    };
    let [old, new] = [["ana", "ben"], ["ana", "cem"]].map(|names| Digest::of_all(&names.map(user)));
    let bells = [part(6, 0, "ana", new), part(5, 1, "ben", old), part(6, 1, "cem", new)];
    for bell in bells {
        cluster.input(1, Input::Bell(id(0), bell));
    }
    assert_eq!(cluster.told(), told(&[(1, "ana", true), (1, "cem", true)]));
}

#[test]
fn a_repeated_bell_asks_for_nothing_and_a_gap_asks_once_a_second() {
    let mut cluster = Cluster::new();
    let bell = |version: u64| PresenceBell::Changed {
        version,
        digest: Digest::of(&user("ana")),
        user: user("ana"),
        online: true,
    };
    let rung = cluster.rung;
    cluster.input(1, Input::Bell(id(0), bell(1)));
    cluster.input(1, Input::Bell(id(0), bell(1)));
    assert_eq!(cluster.rung - rung, 0);
    (3..100).for_each(|version| cluster.input(1, Input::Bell(id(0), bell(version))));
    assert_eq!(cluster.rung - rung, 1);
    cluster.now += SECOND;
    cluster.input(1, Input::Bell(id(0), bell(100)));
    assert_eq!(cluster.rung - rung, 2);
}

#[test]
fn many_who_ask_get_one_answer() {
    let mut cluster = Cluster::new();
    for _ in 0..100 {
        cluster.input(0, Input::Bell(id(1), PresenceBell::Ask { node: id(0) }));
        cluster.input(0, Input::Bell(id(2), PresenceBell::Ask { node: id(0) }));
    }
    let is_list = |(_, to, _, bell): &&(Instant, usize, NodeId, PresenceBell)| {
        *to == 1 && matches!(bell, PresenceBell::All { .. })
    };
    assert_eq!(cluster.broker.under_way.iter().filter(is_list).count(), 1);
    cluster.broker.under_way.clear();
    let rung = cluster.rung;
    cluster.run(SECOND);
    assert_eq!(cluster.rung - rung, 1, "and one more, for those who asked after it");
}

#[test]
fn a_quiet_cluster_rings_only_where_it_stands() {
    let mut cluster = Cluster::new();
    cluster.connect(0, "ana");
    let rung = cluster.rung;
    cluster.run(400 * SECOND);
    assert_eq!(cluster.rung - rung, 3 * 100, "one bell a node and renewal");
}

#[test]
fn after_missed_bells_a_node_says_where_it_stands() {
    let mut cluster = Cluster::new();
    cluster.broker.lost = 100;
    cluster.connect(0, "ana");
    cluster.broker.lost = 0;
    cluster.input(0, Input::Resync);
    cluster.run(Duration::ZERO);
    assert_eq!(cluster.states("ana"), [true; 3], "the others saw the gap and asked");
}
