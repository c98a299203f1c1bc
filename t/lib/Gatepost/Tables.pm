# SPDX-License-Identifier: ISC
# Table sources for a test. Loading this module marks the test as one that uses tables: the suite
# runs it a second time (t/run -l), where each table is put behind the type "later", which answers
# every lookup from the event loop instead of at once.
package Gatepost::Tables;
use strict;
use warnings;
use Exporter 'import';
use Gatepost::Kit;

our @EXPORT = qw(table texthash table_name);

# A type:name as it should stand in main.cf.
sub table_name {
    my ($spec) = @_;
    return ($ENV{GP_TABLES} // '') eq 'later' ? "later:$spec" : $spec;
}

# Writes TEXT to FILE and builds an indexed table from it; TYPE is hash or btree.
sub table {
    my ($type, $file, $text) = @_;
    spew($file, $text);
    my ($status, $out) = run_out(build() . '/sbin/gatemap', "$type:$file");
    die "gatemap $type:$file: status $status\n$out" if $status;
    return table_name("$type:$file");
}

# The same for a text table, which needs no build.
sub texthash {
    my ($file, $text) = @_;
    spew($file, $text);
    return table_name("texthash:$file");
}

1;
