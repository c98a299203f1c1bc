#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The real peers start, take mail and give it back; then a test that fails is about Gatepost.
use strict;
use warnings;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

sub give {
    my ($port, $to, $subject, %arg) = @_;
    my $c = Gatepost::Smtp->new(port => $port, %arg) or return 0;
    $c->hello or return 0;
    my $r = $c->mail('a@client.test', $to, "Subject: $subject\r\n\r\nhello\r\n");
    $c->quit;
    return $r->{code};
}

my $sink = Gatepost::Sink->new;
my %peer = (
    postfix => Gatepost::Peers->postfix(domains => ['in.test'], relayhost => '[127.0.0.1]:' . $sink->port),
    exim => Gatepost::Peers->exim(domains => ['in.test'], relayhost => '127.0.0.1::' . $sink->port),
    dovecot => Gatepost::Peers->dovecot(users => ['anna', 'bert']),
);
for my $name (qw(postfix exim)) {
    my $p = $peer{$name};
    is(give($p->port, 'anna@in.test', "to $name"), 250, "$name takes mail");
    like(($p->wait_received(1))[0], qr/^Subject: to $name$/m, "$name keeps it");
    my $before = $sink->count;
    is(give($p->port, 'x@out.test', "by $name"), 250, "$name takes mail to relay");
    my @m = $sink->wait_messages($before + 1);
    like($m[-1]{content}, qr/^Subject: by $name\r$/m, "$name relays it");
}
is(give($peer{dovecot}->port, 'anna@in.test', 'lmtp', lmtp => 1), 250, 'dovecot takes mail');
like(($peer{dovecot}->wait_received(1))[0], qr/^Subject: lmtp$/m, 'dovecot keeps it');
for my $p (values %peer) {
    $p->stop;
    $p->start;
}
is(give($peer{dovecot}->port, 'bert@in.test', 'again', lmtp => 1), 250, 'dovecot after a restart');
is(scalar($peer{dovecot}->received('bert')), 1, 'one for bert');
diag $_->log for grep { !Test::More->builder->is_passing } values %peer;
done_testing;
