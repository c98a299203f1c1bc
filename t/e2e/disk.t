#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A full disk: mail is refused for now, what was accepted is delivered all the same, and when there
# is room again mail is accepted as before.
use strict;
use warnings;
use Gatepost::Netns;
use File::Path qw(make_path);
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Ledger;
use Test::More;

my $dir = tempdir('disk');
run_ok('a small disk', 'mount', '-t', 'tmpfs', '-o', 'size=420m,mode=755', 'small', $dir);
Gatepost::Kit::at_end(sub { system 'umount', '-l', $dir });

my $ledger = Gatepost::Ledger->new(seed => 7, bad => 0, slow => 0, large => 0.2);
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $ledger->sink->port, queue_directory => "$dir/queue",
    data_directory => "$dir/data", queue_minfree => 0, message_size_limit => 5_000_000,
    queue_file_delay => '1s' });
$gp->start;
is($gp->mail('probe@client.test', 'probe@next.test', "\r\n")->{code}, 250, 'room: accepted');

# The next hop is down, clients go on, and something else eats the disk.
$ledger->sink->stop;
$ledger->run($gp, clients => 2);
ok(wait_until(20, sub { $ledger->count('acked') > 20 }), 'mail is accepted');
my $filler = "$dir/filler";
fill();
ok(wait_until(30, sub { fill(); $ledger->count('refused') > 10 }), 'then refused');
my $c = $gp->session;
my $r;
wait_until(10, sub {
    fill();
    $r = $c->mail('probe@client.test', 'probe@next.test', scalar(('x' x 60 . "\r\n") x 7000));
    return $r->{code} != 250;
});
like($r->{text}, qr/^45[12] 4\.3\.[01] /, 'the reply says for now') or diag $r->{text};
$c->quit;
$ledger->finish;
my $roles = $gp->roles;
ok($roles->{$_}, "$_ runs") for qw(master smtpd cleanup qmgr);

# Delivery goes on while the disk is full.
fill();
my $acked = $ledger->count('acked');
$ledger->sink->start;
$gp->tool('gateq', 'flush');
ok($gp->drained(40), 'everything accepted leaves, on a full disk') or diag scalar($gp->queue_list) . ' left';

# Room again.
unlink $filler;
ok(wait_until(10, sub { $gp->mail('probe@client.test', 'probe@next.test', "\r\n")->{code} == 250 }),
    'accepted again within 10 s');
ok($gp->drained(20), 'and delivered');
# A file goes when the event that ended its message is durable.
my @left;
wait_until(5, sub {
    @left = split /\n/, (run_out('find', map({"$dir/queue/$_"} qw(deferred hold corrupt)), '-type', 'f'))[1];
    return !@left;
});
is(scalar @left, 0, 'no file is left') or diag "@left";
$gp->stop;
$ledger->verify($gp);
done_testing;

# Takes what is free.
sub fill {
    open my $fh, '>>', $filler or die $!;
    for my $size (1 << 20, 1 << 12) {
        my $block = "\0" x $size;
        1 while syswrite $fh, $block;
    }
    close $fh;
}
