//! Owns join tokens in the store: made for one host, kept as a hash, redeemed once. Of any number of redemptions at the
//! same moment exactly one wins, since each requires the version of the record it read.
