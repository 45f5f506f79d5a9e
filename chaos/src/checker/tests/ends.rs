//! Processes that end and begin again, resets, and memberships that are over.

use super::*;

#[test]
fn a_client_killed_without_its_outbox_may_lose_what_had_no_answer_and_begins_anew() {
    // What was stored and not answered stays, what never arrived is nobody's loss, and the order begins anew.
    passes(|world| {
        without(&mut world.ben, &stored(7));
        world.ben.extend([asked(8), started(false, &[]), entry(2, 1, 2)]);
        world.ben.extend([3, 4, 5, 6, 7].map(shown));
    });
}

#[test]
fn a_client_killed_with_its_outbox_may_lose_only_what_was_not_kept() {
    passes(|world| {
        without(&mut world.ben, &stored(7));
        world.ben.extend([asked(8), started(true, &[7]), entry(7, 1, 7)]);
    });
}

#[test]
fn what_waited_in_an_outbox_that_was_lost_later_is_nobodys_loss() {
    passes(|world| {
        world
            .ben
            .extend([asked(8), started(true, &[8]), started(false, &[]), entry(7, 1, 7)]);
    });
}

#[test]
fn a_refusal_settles_what_was_asked_and_what_was_kept() {
    let refused = |seq| Note::Refused {
        conversation: group(),
        id: id(seq),
        code: "not_found".to_owned(),
    };
    passes(|world| {
        world
            .ben
            .extend([asked(8), started(true, &[8]), entry(7, 1, 7), refused(8)]);
        world.ben.extend([asked(9), refused(9)]);
    });
}

#[test]
fn what_was_missed_of_a_membership_that_ended_may_be_skipped() {
    passes(|world| {
        world.cas.retain(|note| ![shown(3), shown(4)].contains(note));
        without(&mut world.cas, &entry(6, 6, 0));
        before(&mut world.cas, &shown(7), [entry(7, 6, 0), skipped(3, 5), shown(6)]);
    });
}

fn reset(conversation: Option<ConversationId>, reason: &str) -> Note {
    Note::Reset {
        conversation,
        reason: reason.to_owned(),
    }
}

#[test]
fn a_reset_of_everything_is_a_reset_without_cause() {
    flags(Fault::Reset, |world| {
        world.ben.extend([reset(None, "epoch"), entry(7, 1, 7)])
    });
}

#[test]
fn a_conversation_that_a_member_is_told_to_forget_is_a_reset_without_cause() {
    flags(Fault::Reset, |world| {
        world.ben.extend([reset(Some(group()), "not_found"), entry(7, 1, 7)]);
    });
    flags(Fault::Reset, |world| {
        let place = entry(6, 6, 0);
        before(&mut world.cas, &place, [reset(Some(group()), "too_old")]);
    });
}

#[test]
fn a_conversation_that_somebody_was_removed_from_meanwhile_may_be_reset_and_begins_anew() {
    passes(|world| {
        world.cas.retain(|note| ![shown(3), shown(4)].contains(note));
        before(&mut world.cas, &entry(6, 6, 0), [reset(Some(group()), "not_found")]);
    });
}

#[test]
fn a_send_that_is_answered_with_the_place_of_another_is_lost() {
    flags(Fault::LostAcked, |world| {
        without(&mut world.ben, &stored(7));
        let ack = Note::Stored {
            conversation: group(),
            id: id(7),
            by: id(5),
            position: at(5),
        };
        world.ben.push(ack);
    });
}

fn kept(seq: u64) -> Note {
    Note::Kept { ids: vec![id(seq)] }
}

#[test]
fn a_command_that_was_on_disk_and_is_not_found_again_is_lost() {
    flags(Fault::LostKept, |world| {
        world
            .ben
            .extend([asked(8), kept(8), started(true, &[]), entry(7, 1, 7)]);
    });
    flags(Fault::LostKept, |world| {
        let found = [asked(8), started(true, &[8]), started(true, &[])];
        world.ben.extend(found.into_iter().chain([entry(7, 1, 7)]));
    });
}

#[test]
fn a_command_that_was_on_disk_may_have_left_it_when_it_was_settled_or_with_it() {
    let refused = Note::Refused {
        conversation: group(),
        id: id(8),
        code: "conflict".to_owned(),
    };
    passes(|world| {
        before(&mut world.ben, &stored(7), [kept(7)]);
        without(&mut world.ben, &stored(7));
        world
            .ben
            .extend([asked(8), kept(8), refused, started(true, &[]), entry(7, 1, 7)]);
        world
            .ben
            .extend([asked(9), kept(9), started(false, &[]), entry(7, 1, 7)]);
    });
}

#[test]
fn a_membership_that_a_reset_said_to_be_over_does_not_go_on() {
    flags(Fault::Reset, |world| {
        // The second of these resets has its cause, which is later than the first.
        world.cas.truncate(3);
        let reset = reset(Some(group()), "not_found");
        world
            .cas
            .extend([reset.clone(), entry(3, 1, 0), reset, entry(6, 6, 0), shown(7)]);
    });
}

#[test]
fn a_reset_because_of_a_removal_from_another_membership_is_without_cause() {
    flags(Fault::Reset, |world| {
        world
            .cas
            .extend([reset(Some(group()), "not_found"), started(true, &[]), entry(7, 6, 0)]);
    });
}

#[test]
fn an_entry_after_a_removal_is_delivered_after_removal() {
    flags(Fault::AfterRemoval, |world| {
        before(&mut world.cas, &entry(6, 6, 0), [entry(5, 1, 0), started(true, &[])]);
    });
}

#[test]
fn an_entry_of_a_membership_that_never_was_is_unexpected() {
    flags(Fault::Unexpected, |world| {
        without(&mut world.cas, &entry(6, 6, 0));
        before(&mut world.cas, &shown(7), [entry(6, 5, 0)]);
    });
}

#[test]
fn a_skip_after_a_removal_is_delivered_after_removal() {
    flags(Fault::AfterRemoval, |world| {
        before(&mut world.cas, &entry(6, 6, 0), [skipped(5, 5)]);
    });
}

#[test]
fn a_removed_user_who_was_never_told_has_never_read_it() {
    flags(Fault::NeverRead, |world| {
        let mut rows = rows();
        rows.truncate(4);
        world.truth = truth_of(rows);
        for reading in &mut world.truth.readings {
            reading.members.remove(&(group(), user(CAS)));
        }
        world.ann.truncate(9);
        world.ann.extend([asked(4), stored(4), shown(4)]);
        world.ben.truncate(7);
        world.cas.truncate(4);
    });
}

#[test]
fn a_removal_that_was_skipped_though_it_was_a_members_to_see_is_never_read() {
    for seq in [4, 6] {
        flags(Fault::NeverRead, |world| {
            without(&mut world.ben, &shown(seq));
            before(&mut world.ben, &shown(seq + 1), [skipped(seq, seq)]);
        });
    }
}

#[test]
fn what_was_refused_as_not_found_to_somebody_who_was_always_there_is_unexpected() {
    let refused = |seq| Note::Refused {
        conversation: group(),
        id: id(seq),
        code: "not_found".to_owned(),
    };
    flags(Fault::Unexpected, |world| {
        without(&mut world.ben, &stored(7));
        world.ben.push(refused(7));
    });
    // Whoever was removed may have been told so of what had been stored before.
    passes(|world| {
        let mut rows = rows();
        rows[2].actor = Some(user(CAS));
        world.truth = truth_of(rows);
        for note in [asked(3), stored(3)] {
            without(&mut world.ben, &note);
        }
        before(&mut world.cas, &shown(3), [asked(3), refused(3)]);
    });
}

#[test]
fn a_reader_who_sees_a_member_too_many_disagrees() {
    for (reader, who) in [(0, "dan"), (1, "dan")] {
        flags(Fault::Disagreement, |world| {
            let membership = Membership {
                joined: Seq(1),
                read: Seq(0),
            };
            let members = &mut world.truth.readings[reader].members;
            members.insert((group(), user(who)), membership);
        });
    }
}

#[test]
fn a_reader_who_sees_another_mark_disagrees() {
    flags(Fault::Disagreement, |world| {
        let members = &mut world.truth.readings[1].members;
        members.get_mut(&(group(), user(CAS))).expect("a member").read = Seq(7);
    });
}
