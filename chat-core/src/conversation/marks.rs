//! Marks only grow, and never past the head.

use chat_protocol::conversation::Marks;
use chat_protocol::id::Seq;
use chat_protocol::planted::{Bug, is_planted};

/// What comes of setting a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkChange {
    /// It grew: these are the marks now.
    Raised(Marks),
    /// It was there or further.
    Unchanged,
    /// The log does not go so far.
    Ahead,
}

/// Raises the read mark; what is read was delivered.
pub fn raise_read(marks: &Marks, to: Seq, head: Seq) -> MarkChange {
    raise(marks.read, to, head, || Marks {
        read: to,
        delivered: marks.delivered.max(to),
        ..marks.clone()
    })
}

/// Raises the delivered mark.
pub fn raise_delivered(marks: &Marks, to: Seq, head: Seq) -> MarkChange {
    raise(marks.delivered, to, head, || Marks {
        delivered: to,
        ..marks.clone()
    })
}

fn raise(current: Seq, to: Seq, head: Seq, raised: impl FnOnce() -> Marks) -> MarkChange {
    if to > head {
        return MarkChange::Ahead;
    }
    let grows = to > current || (is_planted(Bug::MarksGoBack) && to != current);
    if grows {
        MarkChange::Raised(raised())
    } else {
        MarkChange::Unchanged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat_protocol::id::UserId;

    fn marks(read: u64, delivered: u64) -> Marks {
        Marks {
            user: UserId::new("ann").unwrap(),
            read: Seq(read),
            delivered: Seq(delivered),
        }
    }

    #[test]
    fn a_mark_grows_stays_or_is_refused_ahead_of_the_head() {
        let now = marks(5, 7);
        assert_eq!(raise_read(&now, Seq(6), Seq(9)), MarkChange::Raised(marks(6, 7)));
        assert_eq!(raise_read(&now, Seq(5), Seq(9)), MarkChange::Unchanged);
        assert_eq!(raise_read(&now, Seq(1), Seq(9)), MarkChange::Unchanged);
        assert_eq!(raise_read(&now, Seq(10), Seq(9)), MarkChange::Ahead);
        assert_eq!(raise_delivered(&now, Seq(9), Seq(9)), MarkChange::Raised(marks(5, 9)));
        assert_eq!(raise_delivered(&now, Seq(7), Seq(9)), MarkChange::Unchanged);
        assert_eq!(raise_delivered(&now, Seq(10), Seq(9)), MarkChange::Ahead);
    }

    #[test]
    fn what_is_read_was_delivered() {
        assert_eq!(
            raise_read(&marks(5, 7), Seq(9), Seq(9)),
            MarkChange::Raised(marks(9, 9))
        );
    }
}
