#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# What is said of mail whose destination rests, and the status that it gets: by Postfix and by us. And
# that no delivery agent makes transports.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

# Servers that take nothing, each in its own way.
my %server = (
    refused => { closed => free_port() },
    greeting => Gatepost::Sink->new(on => { connect => sub { '421 4.7.6 go away' } }),
    plain => Gatepost::Sink->new(on => { connect => sub { '421 go away' } }),
    hello => Gatepost::Sink->new(on => { ehlo => sub { '421 4.3.2 not now' }, helo => sub { '421 4.3.2 not now' } }),
    lost => Gatepost::Sink->new(on => { connect => sub { { drop => 1, reply => '220 x' } } }),
);
my %port = map { $_ => $server{$_}{closed} // $server{$_}->port } keys %server;
my %main = (transport_maps => 'inline:{' . join(',', map {"{$_.test = smtp:[127.0.0.1]:$port{$_}}"} sort keys %port) . '}',
    minimal_backoff_time => '300s', maximal_backoff_time => '4000s', initial_destination_concurrency => 1);
my $gp = Gatepost::Instance->new(main => { %main, transport_maps => "$main{transport_maps}, inline:{{here.test = here:}}" },
    master => ['here unix - n n - - local', ' -o mailbox_transport=other', 'other unix - - n - - smtp-client -l']);
$gp->start;
my $postfix = Gatepost::Peers->postfix(main => \%main);
my %side = (us => [$gp->port, $gp->{log}], postfix => [$postfix->port, $postfix->{log}]);

# The line about a recipient, without what is of one's own.
sub line_of { my ($log, $rcpt) = @_;
    my ($line) = grep {/to=<\Q$rcpt\E>, /} split /\n/, slurp($log) // '';
    return $line && $line =~ m{/(\w+)\[\d+\]: \w+: to=<.*(relay=\w+).*(dsn=.*)} ? "$1 $2 $3" =~ s/127\.0\.0\.1\[127\.0\.0\.1\]:\d+/HOST/gr : undef;
}

my %said;
for my $name (sort keys %side) {
    my ($port, $log) = @{ $side{$name} };
    for my $which (sort keys %port) {
        for my $rcpt ("first\@$which.test", "second\@$which.test") {
            my $c;
            ok(wait_until(20, sub { $c = Gatepost::Smtp->new(host => '127.0.0.1', port => $port); $c && $c->hello }), "$name: a session");
            is($c->mail('a@client.test', $rcpt, "Subject: x\r\n\r\n")->{code}, 250, "$name: $rcpt");
            $c->quit;
            ok(wait_until(20, sub { line_of($log, $rcpt) }), "$name: its line");
        }
        $said{$which}{$name} = line_of($log, "second\@$which.test");
    }
}
for my $which (sort keys %port) {
    is($said{$which}{us}, $said{$which}{postfix}, "$which: the same line");
    like($said{$which}{us}, qr/^error relay=none dsn=\S+, status=deferred \(delivery temporarily suspended: /, 'without an attempt');
}

# local sends mail on to a transport that this qmgr has not met.
$gp->tool('gatepost', 'service', 'other', 'stop');
ok($gp->kill_role('qmgr'), 'another qmgr');
$gp->mark;
is($gp->mail('a@client.test', 'nobody@here.test', "Subject: x\r\n\r\n")->{code}, 250, 'mail for local');
$gp->wait_log(qr/to=<nobody\@here\.test>, .*dsn=4\.3\.0, status=deferred \(mail transport unavailable\)/, 'which knows another transport');
is(join('|', $gp->log_lines(qr/transport other/)), '', 'and does not make it');
is(($gp->tool('gatepost', 'service', 'other', 'start'))[0], 0, 'it is served again');
ok(wait_until(20, sub {
    $gp->tool('gateq', 'flush');
    $gp->find_log(qr/lmtp\[\d+\]: \w+: to=<nobody\@here\.test>/, 0.5);
}), 'and gets its mail');
$gp->stop;
done_testing;
