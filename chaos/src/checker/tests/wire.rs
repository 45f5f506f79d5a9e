//! What a connection brought, before the client looked at it.

use super::*;
use crate::history::Item;

fn resumed(connection: u64, cursor: Option<u64>) -> Note {
    Note::Resumed {
        connection,
        cursors: cursor.map(|cursor| (group(), Seq(cursor))).into_iter().collect(),
    }
}

/// Events, one frame.
fn heard(connection: u64, seqs: &[u64]) -> Note {
    let items = seqs.iter().map(|seq| Item {
        first: Seq(*seq),
        last: at(*seq),
        id: Some(id(*seq)),
    });
    Note::Heard {
        connection,
        conversation: group(),
        items: items.collect(),
    }
}

fn heard_skip(connection: u64, from: u64, to: u64) -> Note {
    Note::Heard {
        connection,
        conversation: group(),
        items: vec![Item {
            first: Seq(from),
            last: at(to),
            id: None,
        }],
    }
}

fn heard_entry(connection: u64, head: u64, joined: u64) -> Note {
    Note::HeardEntry {
        connection,
        conversation: group(),
        head: Seq(head),
        joined: Seq(joined),
    }
}

fn heard_reset(connection: u64) -> Note {
    Note::HeardReset {
        connection,
        conversation: Some(group()),
        head: None,
    }
}

#[test]
fn a_connection_begins_where_its_client_is_or_at_an_entry_and_brings_everything_once() {
    passes(|world| {
        world
            .ben
            .extend([resumed(0, None), heard_entry(0, 1, 1), heard(0, &[2])]);
        world.ben.extend([heard_entry(0, 2, 1), heard(0, &[3, 4, 5])]);
        // What was on its way when the first one broke comes again on the second.
        world
            .ben
            .extend([resumed(1, Some(3)), heard(1, &[4]), heard_skip(1, 5, 6), heard(1, &[7])]);
    });
}

#[test]
fn a_connection_ends_with_the_end_of_a_membership_and_goes_on_with_the_entry_of_the_next() {
    let begin = [resumed(0, None), heard_entry(0, 1, 1), heard(0, &[2, 3])];
    passes(|world| {
        world.cas.extend(begin.clone());
        world.cas.extend([heard(0, &[4]), heard_entry(0, 6, 6), heard(0, &[7])]);
    });
    // The entry of the next one overtook the end of the first, on this connection or on the one before.
    passes(|world| {
        world.cas.extend(begin.clone());
        world.cas.extend([
            heard_entry(0, 6, 6),
            heard(0, &[4]),
            heard_skip(0, 5, 5),
            heard(0, &[6, 7]),
        ]);
    });
    passes(|world| {
        world.cas.extend(begin.clone());
        world.cas.extend([
            heard_entry(0, 6, 6),
            resumed(1, Some(3)),
            heard(1, &[4]),
            heard_skip(1, 5, 6),
        ]);
        world.cas.push(heard(1, &[7]));
    });
    passes(|world| {
        world.cas.extend(begin.clone());
        world.cas.extend([
            resumed(1, Some(3)),
            heard_reset(1),
            heard_entry(1, 6, 6),
            heard(1, &[7]),
        ]);
    });
}

#[test]
fn a_connection_that_brings_an_event_twice_duplicates_it() {
    flags(Fault::Duplicated, |world| {
        world
            .ben
            .extend([resumed(0, Some(1)), heard(0, &[2]), heard(0, &[2]), heard(0, &[3])]);
    });
    flags(Fault::Duplicated, |world| {
        world.ben.extend([resumed(0, Some(3)), heard(0, &[3, 4])]);
    });
    flags(Fault::Duplicated, |world| {
        world.ben.extend([resumed(0, Some(3)), heard_skip(0, 3, 4)]);
    });
}

#[test]
fn a_connection_that_leaves_an_event_out_has_a_gap() {
    flags(Fault::Gap, |world| {
        world.ben.extend([resumed(0, Some(1)), heard(0, &[2, 4])])
    });
    flags(Fault::Gap, |world| {
        world.ben.extend([
            resumed(0, None),
            heard_entry(0, 1, 1),
            heard(0, &[3]),
            resumed(1, Some(3)),
        ]);
    });
    flags(Fault::Gap, |world| world.ben.extend([resumed(0, None), heard(0, &[2])]));
}

#[test]
fn a_connection_that_brings_events_in_another_order_reorders_them() {
    flags(Fault::Reordered, |world| {
        world.ben.extend([resumed(0, Some(1)), heard(0, &[3, 2, 4])])
    });
}

#[test]
fn a_connection_that_brings_what_is_in_no_log_is_unexpected() {
    flags(Fault::Unexpected, |world| {
        world.ben.extend([resumed(0, Some(7)), heard(0, &[8])])
    });
}

#[test]
fn a_connection_that_goes_on_after_a_removal_delivers_after_removal() {
    let begin = [resumed(0, Some(3)), heard(0, &[4])];
    let after: [&[Note]; 6] = [
        &[heard(0, &[5])],
        &[heard_skip(0, 5, 5)],
        // Nothing begins a membership but an entry of it.
        &[heard(0, &[6])],
        &[heard_entry(0, 3, 1), heard_skip(0, 5, 5)],
        &[heard_reset(0), heard(0, &[5])],
        &[resumed(1, Some(4)), heard(1, &[5])],
    ];
    for notes in after {
        flags(Fault::AfterRemoval, |world| {
            world.cas.extend(begin.iter().chain(notes).cloned())
        });
    }
}
