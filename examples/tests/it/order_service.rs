//! The host with a table of its own, as one would start it.

use crate::process::{Process, example};
use std::process::Command;

#[test]
fn an_order_and_its_message_are_stored_together_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    // The second start goes on where the first one ended: a number that was rolled back is given again.
    for order in [1, 2] {
        let mut command = Command::new(example("order_service"));
        let mut shop = Process::start(command.current_dir(folder.path()));
        assert!(shop.ended().success(), "{:?}", shop.notes.lines());
        let (output, _) = shop.all();
        let paid = format!("Order {order} was committed; ana reads Thank you, ana: a teapot is on its way.");
        assert!(output.contains(&paid), "{output}");
        let unpaid = format!("Order {} was rolled back; ben reads nothing", order + 1);
        assert!(output.contains(&unpaid), "{output}");
    }
}
