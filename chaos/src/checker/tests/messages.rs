//! What messages say, and what happened to them.

use super::*;

/// The world, but the event at this seq does something to the message of another one.
fn with_change(world: &mut World, seq: u64, change: Change, writes: &Note, body: Option<Body>) {
    let mut rows = rows();
    rows[letters(seq) - 1].change = change;
    world.truth = truth_of(rows);
    for notes in [&mut world.ann, &mut world.ben] {
        for note in notes.iter_mut().filter(|note| **note == asked(seq)) {
            note.clone_from(writes);
        }
    }
    if let Some(body) = body {
        for reading in &mut world.truth.readings {
            reading.messages.insert((group(), message(2)), body.clone());
        }
    }
}

fn with_edit(world: &mut World) {
    let change = Change::Edited {
        message: message(2),
        of: Seq(2),
    };
    let body = Body {
        version: 2,
        says: says(5),
    };
    with_change(world, 5, change, &asked_about(5, 2, Some(5)), Some(body));
}

fn with_delete(world: &mut World) {
    let change = Change::Deleted {
        message: message(2),
        of: Seq(2),
    };
    let body = Body {
        version: 2,
        says: Says::Nothing,
    };
    with_change(world, 5, change, &asked_about(5, 2, None), Some(body));
}

fn with_reaction(world: &mut World, seq: u64) {
    let writes = Note::Asked {
        conversation: group(),
        id: id(seq),
        sends: false,
        writes: None,
    };
    with_change(world, seq, Change::Reacted(Seq(2)), &writes, None);
}

#[test]
fn what_happened_to_a_message_and_was_skipped_though_it_was_a_members_to_see_is_never_read() {
    let worlds: [fn(&mut World); 3] = [with_edit, with_delete, |world| with_reaction(world, 5)];
    for change in worlds {
        passes(change);
        flags(Fault::NeverRead, |world| {
            change(world);
            without(&mut world.ben, &shown(5));
            before(&mut world.ben, &shown(6), [skipped(5, 5)]);
        });
    }
}

#[test]
fn what_happened_to_a_message_from_before_ones_time_may_be_skipped() {
    passes(|world| {
        with_reaction(world, 7);
        without(&mut world.cas, &shown(7));
        world.cas.push(skipped(7, 7));
    });
}

#[test]
fn a_message_that_was_edited_after_ones_time_may_be_skipped() {
    passes(|world| {
        with_edit(world);
        without(&mut world.cas, &shown(2));
        before(&mut world.cas, &shown(3), [skipped(2, 2)]);
    });
}

/// The message of a seq as a reader has it.
fn body(world: &mut World, reader: usize, seq: u64) -> &mut Body {
    let messages = &mut world.truth.readings[reader].messages;
    messages.get_mut(&(group(), message(seq))).expect("it is there")
}

#[test]
fn messages_whose_texts_were_swapped_are_altered() {
    for reader in [0, 1] {
        flags(Fault::Altered, |world| {
            body(world, reader, 2).says = says(3);
            body(world, reader, 3).says = says(2);
        });
    }
}

#[test]
fn a_text_that_is_not_whole_is_altered() {
    flags(Fault::Altered, |world| body(world, 1, 7).says = Says::Text(id(7), 6));
}

#[test]
fn a_message_of_which_there_is_no_row_is_altered() {
    for reader in [0, 1] {
        flags(Fault::Altered, |world| {
            world.truth.readings[reader].messages.remove(&(group(), message(3)));
        });
    }
}

#[test]
fn a_message_of_which_the_log_says_nothing_is_altered() {
    flags(Fault::Altered, |world| {
        let body = body(world, 1, 3).clone();
        world.truth.readings[1].messages.insert((group(), message(9)), body);
    });
}

#[test]
fn a_message_that_says_what_it_said_before_it_was_edited_or_deleted_is_altered() {
    let worlds: [fn(&mut World); 2] = [with_edit, with_delete];
    for (change, reader) in worlds.into_iter().zip([1, 0]) {
        flags(Fault::Altered, |world| {
            change(world);
            body(world, reader, 2).says = says(2);
        });
        flags(Fault::Altered, |world| {
            change(world);
            body(world, reader, 2).version = 1;
        });
    }
}

#[test]
fn a_version_that_is_shown_with_the_text_of_another_is_altered() {
    let version = |by| Note::Event {
        conversation: group(),
        position: at(5),
        id: id(5),
        message: Some((message(2), 2, by)),
    };
    let show = |world: &mut World, by| {
        without(&mut world.ben, &shown(5));
        before(&mut world.ben, &shown(6), [version(by)]);
    };
    for by in [Some(id(2)), None] {
        flags(Fault::Altered, |world| {
            with_edit(world);
            show(world, by);
        });
    }
    flags(Fault::Altered, |world| {
        with_delete(world);
        show(world, Some(id(2)));
    });
    passes(|world| {
        with_delete(world);
        show(world, None);
    });
}
