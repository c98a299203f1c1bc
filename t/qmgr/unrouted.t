#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A recipient whose route cannot be looked up waits, and the others of its message do not wait for it.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . free_port(), minimal_backoff_time => '1h',
    maximal_backoff_time => '1h' });
$gp->start;
my ($id) = $gp->mail('a@client.test', ['one@next.test', 'two@odd.test', 'three@next.test'],
    "Subject: x\r\n\r\nbody\r\n")->{text} =~ /queued as (\S+)/;
ok($gp->wait_log(qr/: $id: to=<$_\@.*status=deferred/), "$_ waits") for qw(one two three);

my @old = @{ $gp->roles->{cleanup} };
$gp->set(relayhost => '[127.0.0.1]:' . $sink->port, transport_maps => 'pipemap:{inline:{odd.test=x}, fail:x}');
$gp->reload;
ok(wait_until(10, sub { !grep { is_alive($_) } @old }), 'new cleanups');
$gp->mark;
$gp->tool('gateq', 'flush');
my ($m) = $sink->wait_messages(1, 10);
is_deeply([sort @{ $m->{rcpts} // [] }], ['one@next.test', 'three@next.test'], 'two are delivered');
ok($gp->wait_log(qr/: $id: to=<two\@odd\.test>.*dsn=4\.3\.0, status=deferred \(address resolver failure\)/),
    'the third one waits');

@old = @{ $gp->roles->{cleanup} };
$gp->set(transport_maps => '');
$gp->reload;
ok(wait_until(10, sub { !grep { is_alive($_) } @old }), 'new cleanups again');
$gp->tool('gateq', 'flush');
ok($gp->drained(30), 'until its table answers');
$gp->stop;
done_testing;
