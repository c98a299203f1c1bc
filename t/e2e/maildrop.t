#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Mail of local programs while smtpd is away: the set-gid helper and its hostile callers, files that are
# no mail, and that a worker's death at any step of a pick-up neither loses nor doubles a message (Q19).
use strict;
use warnings;
use Fcntl qw(:flock);
use Gatepost::Kit;
use Gatepost::Maildrop;
use Gatepost::Sink;
use IO::Socket::UNIX;
use POSIX ();
use Test::More;

plan skip_all => 'needs root' if $> != 0;
need('strace');
my $sink = Gatepost::Sink->new;
my $drop = Gatepost::Maildrop->new(relayhost => '[127.0.0.1]:' . $sink->port, message_size_limit => 5_000_000,
    authorized_submit_users => '!games, static:anyone');
my ($gp, $top, $maildrop, $helper) = ($drop->gp, $drop->top, $drop->dir, $drop->helper);
sub as { $drop->as(@_) }
sub sendmail { $drop->sendmail(@_) }
sub files { $drop->files }
sub by_subject { my ($s) = @_; grep { $_->{content} =~ /^Subject: \Q$s\E\r$/m } $sink->messages }
sub arrives { my ($s, $n) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    ok(wait_until(20, sub { (() = by_subject($s)) >= ($n // 1) }), "$s arrives") or diag tail($gp->{log}, 20);
}

# ---- while nothing was ever started ----

my ($status, $out) = sendmail('nobody', "Subject: never\n\nx\n", 'r@next.test');
is($status, 75, 'before the first start: try again later');
like($out, qr/mail system is down/, 'and why') or diag $out;

$gp->start;
my $workers = cleanup_pids();
$gp->stop;

# ---- down ----

my $body = join '', map {"line $_ \xe4\n.\n..dot\n"} 1 .. 20;
($status, $out) = sendmail('nobody', "Subject: down\n\n$body", '-i', '-f', 'me@client.test', '-N', 'failure,delay',
    '-V', 'env1', 'r@next.test', '"a b"@next.test');
is($status, 0, 'sendmail while the system is down') or diag $out;
is($out, '', 'says nothing');
my ($file) = files();
like($file, qr/^drop\.[0-9A-F]{24}$/, 'a file of maildrop');
my @st = stat "$maildrop/$file";
is(sprintf('%o %s %s', $st[2] & 07777, scalar(getpwuid $st[4]), scalar(getgrgid $st[5])), '744 nobody gp-drop', 'its mode and owner');
($status, $out) = as('nobody', '', 'ls', $maildrop);
isnt($status, 0, 'nobody can see into it');
($status) = as('nobody', '', 'cat', "$maildrop/$file");
isnt($status, 0, 'or read a file of it');
my $first = slurp("$maildrop/$file");
is(unpack('V', substr $first, -4), Gatepost::Maildrop::crc32c(substr $first, 0, -4), 'its checksum');
is((sendmail('nobody', "To: t1\@next.test\nBcc: t2\@next.test\nSubject: large\n\n" . "0123456789abcdef\n" x 200_000, '-t'))[0],
    0, 'a large one, -t');
is((sendmail('games', "Subject: games\n\nx\n", 'r@next.test'))[0], 77, 'who may not submit');
is((sendmail('nobody', "Subject: x\n\n" . "0123456789abcdef\n" x 300_000, 'r@next.test'))[0], 69, 'too large');
($status, $out) = sendmail('nobody', join('', map { "Bcc: " . join(',', map {"recipient-with-a-rather-long-name-number-$_\@next.test"} $_ * 500 .. $_ * 500 + 499) . "\n" } 1 .. 160)
    . "Subject: many\n\nx\n", '-t');
is($status, 75, 'more recipients than a file may have');
like($out, qr/fatal: too many recipients for a mail system that is down/, 'and why') or diag substr $out, 0, 500;
is((sendmail('nobody', join('', map {"Received: x$_\n"} 1 .. 60) . "Subject: loop\n\nx\n", '-f', 'me@client.test',
    'r@next.test'))[0], 0, 'one that goes in circles');
is(scalar(() = files()), 3, 'nothing else is there');

$gp->mark;
$gp->start;
arrives('down');
arrives('large');
my ($m) = by_subject('down');
is($m->{from}, 'me@client.test', 'its sender');
is_deeply([sort @{ $m->{rcpts} }], ['"a b"@next.test', 'r@next.test'], 'recipients');
like($m->{content}, qr/^Received: by mx\.example \(Gatepost, from userid 65534\)\r\n\tid \w+; /m, 'Received says who');
is($m->{content} =~ s/\A.*?\r\n\r\n//sr, $body =~ s/\n/\r\n/gr, 'the content is the same');
$gp->wait_log(qr/pickup\[\d+\]: \w+: uid=65534 from=<me\@client\.test>$/, 'log: pickup');
($m) = by_subject('large');
unlike($m->{content}, qr/^Bcc:/m, 'Bcc is taken out');
is_deeply([sort map { @{ $_->{rcpts} } } by_subject('large')], ['t1@next.test', 't2@next.test'], '-t');
like($m->{from}, qr/^nobody\@/, 'the sender is who called');
$gp->wait_log(qr/to=<r\@next\.test>, relay=none, .*status=bounced \(.*too many hops\)/i, 'what goes in circles is returned');
ok(wait_until(10, sub { !files() }), 'maildrop is empty');

# ---- up, but not for sendmail ----

run_ok('no listener', build() . '/sbin/gatepost', '-c', $gp->dir, 'service', 'sendmail', 'stop');
$gp->mark;
is((sendmail('nobody', "Subject: bell\n\nx\n", 'r@next.test'))[0], 0, 'without a listener');
arrives('bell');
is(join('|', $gp->log_lines(qr/(?:warning|error|fatal): /)), '', 'without a complaint');

my $socket = $gp->queue . '/public/sendmail';
sub with_server { my (@replies) = @_;
    unlink $socket;
    my $listen = IO::Socket::UNIX->new(Local => $socket, Listen => 1) or die $!;
    chmod 0666, $socket;
    my $pid = fork // die;
    if (!$pid) {
        my $c = $listen->accept;
        print $c shift(@replies), "\r\n";
        while (defined(my $line = <$c>)) {
            last if !@replies;
            my $reply = shift @replies;
            if ($line =~ /^DATA/) { print $c "$reply\r\n"; while (<$c>) { last if /^\.\r\n/ } $reply = shift @replies // last }
            print $c "$reply\r\n";
        }
        POSIX::_exit(0);
    }
    close $listen;
    my ($s, $o) = sendmail('nobody', "Subject: server\n\nx\n", 'r@next.test');
    waitpid $pid, 0;
    unlink $socket;
    return ($s, $o);
}
my $ok = '250 ok';
for (['4xx at connect', 0, '421 4.3.2 no'], ['4xx at MAIL', 0, '220 x', $ok, '452 4.3.1 no space'],
    ['4xx at RCPT', 0, '220 x', $ok, $ok, '450 4.2.1 no'],
    ['4xx for the message', 0, '220 x', $ok, $ok, $ok, '354 go', '451 4.3.0 no'],
    ['lost before the dot', 0, '220 x', $ok], ['no reply of SMTP', 0, 'hello'],
    ['5xx at RCPT', 69, '220 x', $ok, $ok, '550 5.1.1 no'],
    ['5xx for the message', 69, '220 x', $ok, $ok, $ok, '354 go', '552 5.3.4 no'],
    ['lost behind the dot', 75, '220 x', $ok, $ok, $ok, '354 go']) {
    my ($name, $want, @replies) = @$_;
    my $before = () = by_subject('server');
    ($status, $out) = with_server(@replies);
    is($status, $want, $name) or diag $out;
    my $came = wait_until($want ? 0.3 : 20, sub { (() = by_subject('server')) > $before });
    is($came ? 1 : 0, $want ? 0 : 1, $want ? 'is not left there' : 'arrives');
}

# ---- hostile callers ----

my $queue = $gp->queue;
$gp->stop;
sub call { my ($input, $command) = @_; as('nobody', $input, 'sh', '-c', $command) }
for (['closed descriptors', qr/^74$/, "exec $helper $queue <&- >&- 2>&-"],
    ['a limit of sizes', qr/^(?:69|75)$/, "ulimit -f 1; $helper $queue"],
    ['no descriptors', qr/^(?:71|75|127)$/, "ulimit -n 4; exec $helper $queue"],
    ['a relative path', qr/^75$/, "cd $queue && $helper ."],
    ['no directory', qr/^75$/, "$helper /nonexistent"],
    ['a directory of the caller', qr/^78$/,
        "rm -rf /tmp/gp-own.\$\$; mkdir -p /tmp/gp-own.\$\$/maildrop; chmod 0730 /tmp/gp-own.\$\$/maildrop; $helper /tmp/gp-own.\$\$; s=\$?; rm -r /tmp/gp-own.\$\$; exit \$s"],
    ['a link of the caller', qr/^75$/,
        "mkdir /tmp/gp-own.\$\$; ln -s $maildrop /tmp/gp-own.\$\$/maildrop; $helper /tmp/gp-own.\$\$; s=\$?; rm -r /tmp/gp-own.\$\$; exit \$s"],
    ['nothing', qr/^64$/, $helper], ['too much', qr/^69$/, "head -c 9200000 /dev/zero | $helper $queue"]) {
    my ($name, $want, $command) = @$_;
    ($status, $out) = call('x' x 5000, $command);
    like($status, $want, $name) or diag $out;
}
ok(!(grep { (stat "$maildrop/$_")[2] & 0100 } files()), 'nothing of these is complete');
unlink map {"$maildrop/$_"} files();
# An envelope may have 4 MB beside message_size_limit, wherever one is looked at.
is((call('', "head -c 9194000 /dev/zero | $helper $queue"))[0], 0, 'content and envelope as large as they may be');
unlink map {"$maildrop/$_"} files();
# A wrong umask, a mask of signals, and descriptors that are somebody's.
is((call($first, "umask 0777; LD_PRELOAD=/nonexistent exec $helper $queue 7</etc/passwd 2>/dev/null"))[0], 0, 'odd ways');
is(sprintf('%o', (stat glob "$maildrop/drop.*")[2] & 07777), 744, 'do not change the mode');
unlink map {"$maildrop/$_"} files();
# Ended in the middle.
my $slow = spawn({ out => "$top/slow" }, 'sh', '-c',
    "(printf abc; exec sleep 60) | setpriv --reuid nobody --regid nogroup --clear-groups $helper $queue");
ok(wait_until(10, sub { my ($f) = files(); $f && -s "$maildrop/$f" }), 'a slow writer');
$gp->mark;
sub start_without_sendmail {
    $gp->start;
    run_ok('no listener', build() . '/sbin/gatepost', '-c', $gp->dir, 'service', 'sendmail', 'stop');
}
start_without_sendmail();
is((sendmail('nobody', "Subject: beside\n\nx\n", 'r@next.test'))[0], 0, 'another one');
arrives('beside');
# Its own file goes behind its commit.
wait_until(10, sub { 1 == (() = files()) });
is(scalar(() = files()), 1, 'the slow one is left alone');
kill 'KILL', grep { (readlink("/proc/$_/exe") // '') eq $helper } map {s{/proc/}{}r} glob '/proc/[0-9]*';
stop_pid($slow, 'TERM');
my $bell = sub { $drop->ring };
ok(wait_until(20, sub { $bell->(); !files() }), 'its file goes when it is dead') or diag join ' ', files();
$gp->wait_log(qr{warning: maildrop/drop\.\w+: uid 65534: not complete, and its writer has ended; removed}, 'with a line');

# ---- hostile files ----

sub token { $drop->token }
sub put { $drop->put(@_) }
# $first with other bytes somewhere, and with the checksum of that.
sub changed { $drop->changed($first, @_) }
my $flipped = $first =~ s/line 7/line 8/r;
for (['damaged', $flipped, qr/damaged/], ['cut off', substr($first, 0, -10), qr/not of the form/],
    ['empty', '', qr/not of the form/], ['no mail', "From: x\n\nhello\n", qr/not of the form/],
    ['lengths of another', $first . 'x', qr/not of the form/],
    ['a line end in an address', changed('r@next.test', "r\nnext.test"), qr/bad envelope/],
    ['a NUL in the sender', changed('me@client', "me\0client"), qr/bad envelope/],
    ['a huge envelope', substr($first, 0, 8) . pack('V', 0xFFFFFFFF) . substr($first, 12), qr/not of the form/]) {
    my ($name, $bytes, $why) = @$_;
    $gp->mark;
    my $file = put($bytes);
    $gp->wait_log(qr{warning: maildrop/\w+\.\w+: uid 65534: $why.*; set aside as maildrop/bad\.}, $name);
}
ok(wait_until(10, sub { 8 == (() = grep {/^bad\./} files()) }), 'all are set aside');
unlink map {"$maildrop/$_"} files();
$gp->mark;
put($first, uid => scalar getpwnam 'games');
$gp->wait_log(qr/games|its owner is not among authorized_submit_users; set aside/, 'an owner who may not');
symlink '/etc/passwd', "$maildrop/drop." . token();
POSIX::mkfifo("$maildrop/drop." . token(), 0744);
spew("$maildrop/stray\nname", 'x');
open my $sparse, '>', "$top/sparse";
truncate $sparse, 1 << 40;
close $sparse;
chmod 0744, "$top/sparse";
rename "$top/sparse", "$maildrop/drop." . token();
$bell->();
$gp->wait_log(qr{maildrop/drop\.\w+: uid 0: not a regular file; removed}, 'a link or FIFO');
$gp->wait_log(qr{maildrop/stray\?name: uid 0: not a name of the helper's; removed}, 'a stray name');
$gp->wait_log(qr{maildrop/\w+\.\w+: uid 0: not of the form of such files; set aside}, 'a sparse one');
put($first);
arrives('down', 2);
$gp->mark;
spew("$top/two", $first);
chmod 0744, "$top/two";
link "$top/two", "$maildrop/drop." . token();
$bell->();
$gp->wait_log(qr{maildrop/drop\.\w+: uid 0: has 2 names; removed}, 'one with two names');
ok(wait_until(10, sub { !grep { !/^bad/ } files() }), 'nothing else is left');
unlink map {"$maildrop/$_"} files();

# ---- death at every step ----

# The system call at whose entry cleanup is killed, and which one of that name.
sub cleanup_pids { @{ $gp->roles->{cleanup} // [] } }
# All that there are to be: nobody comes beside those that are watched.
sub all_cleanups { wait_until(20, sub { $workers <= (() = cleanup_pids()) }) }
sub killed_at { my ($call, $when, $subject) = @_;
    all_cleanups();
    return $drop->killed_at($call, $when, sub {
        is((sendmail('nobody', "Subject: $subject\n\nx\n", 'r@next.test'))[0], 0, "killed at $call $when");
    });
}
# Behind a death another worker answers qmgr about its files, and removes a name of its own at the end, at
# which it could be killed instead. Behind a start nobody does.
sub calm { $gp->stop; start_without_sendmail(); all_cleanups() }
my @deaths = (['unlinkat', 1], ['renameat', 1], ['fsync', 1], ['fdatasync', 1]);
calm();
for (@deaths) {
    my ($call, $when) = @$_;
    my $subject = "$call-$when";
    $gp->mark;
    ok(killed_at($call, $when, $subject), 'cleanup is dead');
    arrives($subject);
    ok(wait_until(20, sub { !files() }), 'its file goes') or diag join ' ', files();
    is(scalar(() = by_subject($subject)), 1, 'it arrives once');
    $gp->wait_log(qr{: maildrop/\w+\.\w+ was picked up before$}, 'the file alone had been left') if $call eq 'unlinkat';
}

# The id of what was picked up, once its delivery is noted: whose is not may be sent again.
sub was_sent {
    my $line = $gp->wait_log(qr{pickup\[\d+\]: \w+: uid=65534 from=<nobody}, 'its pick-up');
    my ($id) = ($line // '') =~ /: (\w+): uid=/;
    $gp->wait_log(qr/: $id: to=<r\@next\.test>, .*status=sent/, 'and delivery');
    return $id;
}

# All die behind the commit; and the unlink is not on disk: the file is there again.
for my $how ('all are killed', 'the file comes back') {
    my $subject = $how =~ tr/ /-/r;
    calm() if $how =~ /killed/;
    my $master = $gp->master_pid;
    if ($how =~ /killed/) {
        my @others = grep { $_ != $master } map { @$_ } values %{ $gp->roles };
        kill 'STOP', $master; # makes no new one
        $gp->mark;
        ok(killed_at('unlinkat', 1, $subject), $how);
        was_sent();
        kill_at_once($master, @others);
    } else {
        $sink->stop;
        $gp->mark;
        is((sendmail('nobody', "Subject: $subject\n\nx\n", 'r@next.test'))[0], 0, 'sent');
        my $line = $gp->wait_log(qr{pickup\[\d+\]: \w+: uid=65534 from=<nobody}, 'picked up');
        ok(wait_until(10, sub { !files() }), 'and gone');
        $sink->start;
        run_out(build() . '/sbin/gateq', '-c', $gp->dir, 'flush');
        arrives($subject);
        my $id = was_sent();
        # As a power cut would: nobody sees another die.
        my %all = %{ $gp->roles };
        kill_at_once(map { @$_ } values %all);
        spew("$top/again", $first);
        chown 65534, -1, "$top/again";
        chmod 0744, "$top/again";
        rename "$top/again", "$maildrop/$id." . token();
    }
    ok(wait_until(10, sub { !is_alive($master) }), 'all are dead');
    my @down = by_subject('down');
    $gp->mark;
    my ($again) = files();
    my $lock;
    if ($how !~ /killed/) {
        open $lock, '<', "$maildrop/$again" or die $!;
        flock $lock, LOCK_EX or die $!;
    }
    start_without_sendmail();
    arrives($subject);
    if ($lock) {
        # While somebody has it, nothing that is needed for the answer may be forgotten, whatever goes on.
        my $until = time + 2.5;
        for (my $n = 0; time < $until; $n++) { $gp->mail('a@x.test', 'b@next.test', "Subject: beside $n\r\n\r\nx\r\n") }
        is(join(' ', files()), $again, 'it is still there');
        close $lock;
        $bell->();
    }
    ok(wait_until(20, sub { !files() }), 'the file goes') or diag join ' ', files(), "\n" . tail($gp->{log}, 20);
    $gp->wait_log(qr{: maildrop/\w+\.\w+ was picked up before$}, 'with a line') if $how !~ /killed/;
    is(scalar(() = by_subject($subject)), 1, 'it has arrived once');
    is(scalar(() = by_subject('down')), scalar(@down), 'and no other');
}
# A worker dies behind its first commit, before it could tell of its segment, and its locks live longer
# than its connection: nobody may say that its mail never was, and what it took is found when they end.
$gp->stop;
start_without_sendmail();
all_cleanups();
# A descriptor of the same open file keeps the lock (pidfd_open, pidfd_getfd).
my @held = map {
    my $pidfd = syscall 434, $_ + 0, 0;
    map { syscall 438, $pidfd, $_ + 0, 0 } grep { $_ ne '' } map { (readlink($_) // '') =~ m{/incoming/} ? s{.*/}{}r : '' } glob "/proc/$_/fd/*";
} cleanup_pids();
ok(@held > 0, 'its segments are held');
$gp->mark;
ok(killed_at('unlinkat', 1, 'late-locks'), 'cleanup is dead');
$bell->();
my $until = time + 2.5;
for (my $n = 0; time < $until; $n++) { $gp->mail('a@x.test', 'b@next.test', "Subject: beside $n\r\n\r\nx\r\n") }
is(scalar(() = by_subject('late-locks')), 0, 'its mail waits');
POSIX::close($_) for @held;
arrives('late-locks');
ok(wait_until(20, sub { !files() }), 'its file goes');
$gp->wait_log(qr{: maildrop/\w+\.\w+ was picked up before$}, 'since it was picked up before');
is(scalar(() = by_subject('late-locks')), 1, 'it arrives once');

# One that never was a message begins anew.
$gp->mark;
my $before = () = by_subject('down');
put($first, name => 'FFFFFFFFFFF.' . token());
arrives('down', $before + 1);
ok(!$gp->log_lines(qr/was picked up before/), 'an id that no message has');
ok($gp->drained, 'the queue is empty');
ok(wait_until(10, sub { !files() }), 'and maildrop');
$gp->stop;
done_testing;
