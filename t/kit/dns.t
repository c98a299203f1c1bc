#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The kit's name servers answer as told, in a namespace of their own.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Dns;
use Gatepost::Kit;
use Test::More;

my $dns = Gatepost::Dns->new(zones => { 'test' => "mx1 A 127.0.0.2\nd MX 10 mx1\n" });
like(slurp('/etc/resolv.conf'), qr/^nameserver 127\.0\.0\.53$/m, 'resolv.conf is ours');
# It may be slow.
sub answer { my @question = @_; return wait_until(10, sub { Gatepost::Dns::query(@question) }) // '' }
my $answer = answer('127.0.0.53', 'mx1.test', 1);
like($answer, qr/\x7f\0\0\x02/, 'an address record');
$dns->zone('test', "mx1 A 127.0.0.9\n");
like(answer('127.0.0.53', 'mx1.test', 1), qr/\x7f\0\0\x09/, 'a changed zone');
$dns->stop;
is(Gatepost::Dns::query('127.0.0.53', 'mx1.test', 1), undef, 'a stopped server is silent');

my $nasty = Gatepost::Dns->nasty(
    addr => '127.0.0.54',
    answer => sub {
        my ($q) = @_;
        return if $q->{name} =~ /silent/;
        return Gatepost::Dns::reply($q, rcode => 2) if $q->{name} =~ /fail/;
        return Gatepost::Dns::reply($q, records => [[1, "\x7f\0\0\x07"]]);
    });
is(Gatepost::Dns::query('127.0.0.54', 'silent.test', 1), undef, 'silence');
is(ord(substr answer('127.0.0.54', 'fail.test', 1), 3, 1) & 15, 2, 'SERVFAIL');
like(answer('127.0.0.54', 'ok.test', 1), qr/\x7f\0\0\x07\z/, 'an answer');
my %seen;
is_deeply([grep { !$seen{$_}++ } $nasty->queries], ['udp silent.test 1', 'udp fail.test 1', 'udp ok.test 1'], 'queries seen');
done_testing;
