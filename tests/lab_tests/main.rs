//! The lab itself: that it comes up, can be hurt, boots real guests, and leaves nothing behind.

mod guests;
mod life;
mod network;
