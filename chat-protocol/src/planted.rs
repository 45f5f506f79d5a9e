//! Planted bugs: run-time switches for faults that the simulator must catch; without `--cfg chat_planted` they are
//! the constant `false` and cost nothing.

/// A fault that can be switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Bug {
    /// A client resumes one event too early, and shows an event again when it comes a second time.
    ClientAppliesTwice = 1,
    /// A client mints a new id when it sends a command again.
    ClientMintsAgain = 2,
    /// The judge takes a repeated id for a new command.
    DedupForgets = 3,
    /// The engine answers before the store has committed.
    AckBeforeCommit = 4,
    /// A conversation that fell behind goes live without reading what came meanwhile.
    LiveWithoutBackfill = 5,
    /// A removed member's sessions go on receiving.
    RemovalKeepsListening = 6,
    /// A mark may go backwards.
    MarksGoBack = 7,
    /// Reconcile is never run.
    NoReconcile = 8,
    /// Resume starts at the head instead of the cursor.
    ResumeAtHead = 9,
}

/// All of them.
pub const ALL: [Bug; 9] = [
    Bug::ClientAppliesTwice,
    Bug::ClientMintsAgain,
    Bug::DedupForgets,
    Bug::AckBeforeCommit,
    Bug::LiveWithoutBackfill,
    Bug::RemovalKeepsListening,
    Bug::MarksGoBack,
    Bug::NoReconcile,
    Bug::ResumeAtHead,
];

#[cfg(chat_planted)]
static ACTIVE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

/// Switches one bug on, or all off.
#[cfg(chat_planted)]
pub fn plant(bug: Option<Bug>) {
    ACTIVE.store(bug.map_or(0, |bug| bug as u32), std::sync::atomic::Ordering::SeqCst);
}

/// Whether this bug is on.
#[cfg(chat_planted)]
pub fn is_planted(bug: Bug) -> bool {
    ACTIVE.load(std::sync::atomic::Ordering::SeqCst) == bug as u32
}

/// Whether this bug is on.
#[cfg(not(chat_planted))]
#[inline(always)]
pub const fn is_planted(_bug: Bug) -> bool {
    false
}
