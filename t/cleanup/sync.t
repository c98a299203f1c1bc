#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A disk that fails a sync (DESIGN: Q18): the message hears 451 when the queue manager has noted that
# its segment ends before it, others go on, and it is never delivered, not even after a crash. When
# the queue manager cannot be asked, nobody hears anything.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new;
my $gp = Gatepost::Instance->new(main => { relayhost => '[127.0.0.1]:' . $sink->port });
$gp->start;

sub message { "Message-ID: <$_[0]\@client.test>\r\nSubject: $_[0]\r\n\r\n$_[0]\r\n" }
sub mail { $gp->mail('s@client.test', 'r@next.test', message($_[0])) }

# The next sync of each cleanup fails. Ends when strace has let go of them.
my @tracers;
sub next_sync_fails {
    for my $pid (@{ $gp->roles->{cleanup} }) {
        my $said = tempdir('strace') . '/said';
        push @tracers, spawn({ out => $said }, 'strace', '-f', '-o', '/dev/null', '-p', $pid,
            '-e', 'trace=fdatasync', '-e', 'inject=fdatasync:error=EIO:when=1');
        wait_until(10, sub { (slurp($said) // '') =~ /attached/ }) or die 'strace: ' . slurp($said);
    }
}
sub disk_is_well { stop_pid($_) for splice @tracers }

is(mail('good')->{code}, 250, 'good mail');
ok($gp->drained, 'is delivered');
my $good = $sink->count;

next_sync_fails();
my $r = mail('refused');
is($r->{code}, 451, 'a failed sync: 451') or diag $r->{text};
is($r->{text}, '451 4.3.0 Error: queue file write error', 'its text');
$gp->wait_log(qr/cleanup\[\d+\]: error: journal segment \d+: sync: Input\/output error/, 'log: the reason');
is(scalar(() = $gp->log_lines(qr/no space/)), 0, 'that is no lack of space');
disk_is_well();
is(mail('later')->{code}, 250, 'the next message is taken');
ok($gp->drained, 'and delivered');
is($sink->count, $good + 1, 'it alone');

# A crash of all processes: the refused one stays refused.
ok($gp->kill_all, 'everything is killed');
$gp->start;
is(mail('again')->{code}, 250, 'after a start mail is taken');
ok($gp->drained, 'and delivered');
is(scalar(grep { $_->{content} =~ /Subject: refused/ } $sink->messages), 0, 'nothing refused is delivered');

# Nobody is there to note it: no answer, and the worker ends.
is(($gp->tool('gatepost', 'service', 'qmgr', 'stop'))[0], 0, 'the queue manager is stopped');
next_sync_fails();
$gp->mark;
$r = mail('silence');
is($r->{code}, 0, 'a failed sync: no answer') or diag $r->{text};
$gp->wait_log(qr/cleanup\[\d+\]: fatal: a failed write of the journal could not be noted/, 'log: the end');
disk_is_well();
is(($gp->tool('gatepost', 'service', 'qmgr', 'start'))[0], 0, 'the queue manager is started');
ok(wait_until(20, sub { mail('last')->{code} == 250 }), 'mail is taken again');
ok($gp->drained, 'and delivered');
ok((grep { $_->{content} =~ /Subject: last/ } $sink->messages), 'that is, all that was taken');
$gp->stop;
done_testing;
