//! Stories and laws of the control plane, in virtual time.

mod elections;
mod founding;
mod laws;
mod map_scripts;
mod membership;
mod moves;
mod rig;
mod wire;
