//! Files that nobody would write by mistake: whatever stands in one, a check ends soon, with a configuration or with
//! errors.
