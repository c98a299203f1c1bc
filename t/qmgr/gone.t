#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A message that the operator deletes while cleanup is asked to tell its sender of a failure: when cleanup
# dies nothing is left to be told of, and qmgr goes on.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(on => {
    rcpt => sub {
        my ($s, $arg) = @_;
        return if $arg !~ /^<bad/;
        my $sink = $s->{sink};
        $sink->flag('seen', 1);
        wait_until(20, sub { $sink->is_set('go') });
        return '550 5.1.1 <bad>: no such user';
    } });
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port, queue_file_delay => '1h' });
$gp->start;

my ($id) = $gp->mail('a@client.test', ['bad@next.test'], "Subject: x\r\n\r\nbody\r\n")->{text} =~ /queued as (\S+)/;
ok(wait_until(20, sub { $sink->is_set('seen') }), 'its recipient is on the way');
my ($qmgr) = @{ $gp->roles->{qmgr} };
my @cleanups = @{ $gp->roles->{cleanup} };
kill 'STOP', @cleanups;
$sink->flag('go', 1);
ok($gp->wait_log(qr/: $id: to=<bad\@next\.test>.*status=bounced/), 'it is refused');
my ($status, $out) = run_out(build() . '/sbin/gateq', '-c', $gp->dir, 'delete', $id);
is($status, 0, 'it is deleted while cleanup is asked for a notice') or diag $out;
kill 'KILL', @cleanups;
ok(wait_until(20, sub { my @now = @{ $gp->roles->{cleanup} // [] }; @now && !grep { is_alive($_) } @cleanups }),
    'other cleanups take over');
is($gp->mail('a@client.test', ['good@next.test'], "Subject: y\r\n\r\nbody\r\n")->{code}, 250, 'mail is taken');
ok($gp->drained(20), 'and delivered');
is_deeply([grep { $_->{rcpts}[0] !~ /^good/ } $sink->messages], [], 'nobody is told of what is gone');
is_deeply($gp->roles->{qmgr}, [$qmgr], 'by the same qmgr');
$gp->stop;
done_testing;
