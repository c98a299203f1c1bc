#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A queue that was damaged while the system was down: in the journal and in files, content and heads,
# cut off, stale, foreign. What is damaged is named, set aside and never delivered; the rest is
# delivered. A torn tail is no damage. A body that contains a well-formed record is just a body.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new;
$sink->stop;
my %main = (relayhost => '[127.0.0.1]:' . $sink->port, message_size_limit => 20_000_000);
my $gp;
my %id;

sub fill { map { sprintf "%s line %05d %s\r\n", $_[0], $_, 'x' x 50 } 1 .. $_[1] }

sub send_mail {
    my ($name, $body) = @_;
    my $c = $gp->session or return;
    my $r = $c->bdat('', "$name\@next.test", "Subject: mail $name\r\n\r\n" . $body);
    $c->quit;
    ok($id{$name} = Gatepost::Smtp->id_of($r), "$name: accepted") or diag $r->{text};
}

# All processes end at once, as in a power cut.
sub cut {
    my $roles = $gp->roles;
    my @pids = (@{ delete $roles->{master} }, map {@$_} values %$roles);
    kill_at_once(@pids);
    ok(wait_until(10, sub { waitpid -1, POSIX::WNOHANG(); !grep { is_alive($_) } @pids }), 'a power cut');
    delete $gp->{master};
}

sub journal { my ($file) = grep { (slurp($_) // '') =~ /$_[0]/ } glob $gp->queue . '/incoming/*.segment'; return $file }
sub patch {
    my ($file, $at, $bytes) = @_;
    open my $fh, '+<:raw', $file or die "$file: $!";
    seek $fh, $at, 0;
    print $fh $bytes;
    close $fh;
}
# Where the record with this message begins.
sub record_of {
    my ($text, $name) = @_;
    my $at = index $text, "Subject: mail $name\r\n";
    die "$name is not there" if $at < 0;
    $at -= $at % 64;
    $at -= 64 while substr($text, $at, 4) ne 'GER1';
    return $at;
}
sub arrived { my ($name) = @_; grep { $_->{rcpts}[0] eq "$name\@next.test" } $sink->messages }
sub all_arrive {
    my (@names) = @_;
    ok(wait_until(30, sub { !grep { !arrived($_) } @names }), "arrive: @names")
        or diag 'missing: ' . join ' ', grep { !arrived($_) } @names;
    for my $name (@names) {
        my @m = arrived($name);
        is(scalar @m, 1, "$name: once");
    }
}

# ---- The journal ----

# One cleanup: one segment has them all.
$gp = Gatepost::Instance->new(main => {%main});
s/^(cleanup .*) 0 cleanup$/$1 1 cleanup/ for @{ $gp->{services} };
$gp->write_config;
$gp->start;
send_mail($_, join '', fill($_, 40)) for qw(first content head middle last);
send_mail('large', join '', fill('large', 8000));
# A client that has seen a record sends it, whole, as a body: behind a blank line, at a place where
# records may begin, and many times.
my $text = slurp(journal('mail content'));
my $at = record_of($text, 'content');
my $record = substr $text, $at, record_of($text, 'head') - $at;
$record =~ s/content\@next/forged_\@next/;
send_mail('carrier', $record . join('', map { "\0" x $_ . $record } 1, 17, 31, 64, 100));
send_mail('tail', join '', fill('tail', 40));
$gp->wait_log(qr/$id{tail}: to=<.*status=deferred/, 'all wait');
cut();
my $file = journal('mail first');
$text = slurp($file);
patch($file, index($text, 'content line 00020'), 'DAMAGE');
patch($file, record_of($text, 'head') + 20, "\x5a" x 8);
patch($file, record_of($text, 'carrier') + 8, "\x5a" x 8);
# A torn tail: a record that was begun behind the last sync. One of another generation, whole.
my $end = rindex $text, 'tail line 00040';
$end += 4096 - $end % 4096;
my $torn = substr $text, record_of($text, 'first'), 1000;
patch($file, $end, $torn . "\0" x (4096 - 1000));
my $stale = $record;
substr $stale, 8, 16, 'another gener...';
patch($file, $end + 4096, $stale);
my ($large) = grep { -s > 400_000 } grep {-f} split /\n/, (run_out('find', $gp->queue, '-name', "$id{large}*"))[1];
ok($large, 'the large body is a file of its own');
$gp->mark;
$gp->start;
ok(wait_until(20, sub { 3 == (() = $gp->log_lines(qr/set aside in corrupt/)) }), 'what is damaged is set aside');
# Another start finds the same damage, and has said so before.
cut();
$sink->start;
$gp->start;
all_arrive(qw(first middle last large tail));
ok($gp->drained, 'nothing else is left') or diag join "\n", $gp->queue_list;
is(scalar(arrived($_)), 0, "$_: damaged, not delivered") for qw(content head carrier forged_);
my @said = grep { !/: in doubt: / } $gp->log_lines(qr/(?:warning|error): /);
is(scalar(grep {/error: journal segment [0-9A-F]{8}: damaged record at \d+, \d+ bytes; set aside in corrupt$/} @said), 3,
    'the log says what is damaged, once');
is(scalar @said, 3, 'and nothing of what was torn') or diag join "\n", @said;
ok(scalar(grep { (slurp($_) // '') =~ /mail head/ } grep {-f} split /\n/,
    (run_out('find', $gp->queue . '/corrupt', '-type', 'f'))[1]), 'whole, for those who can read it');
is(scalar(grep { $_->{from} eq '' && $_->{rcpts}[0] !~ /\@next\.test$/ } $sink->messages), 0, 'nothing else was made of it');
$gp->stop;

# The carrier is fine as mail, in another life.
$gp->start;
send_mail('carrier', $record x 3);
all_arrive('carrier');
is(scalar(() = (arrived('carrier'))[0]{content} =~ /^content line 00040 /mg), 3, 'its body is what was sent');
is(scalar(arrived('forged_')), 0, 'and nothing but a body');
$gp->stop;

# ---- Files ----

$sink->stop;
%id = ();
$gp = Gatepost::Instance->new(main => { %main, queue_file_delay => '1s' });
$gp->start;
my @names = qw(fgood fcontent fhead fshort fempty fbody fbodyless flarge fstale);
send_mail($_, join '', fill($_, $_ =~ /^fbody|^flarge/ ? 8000 : 60)) for @names;
my %file;
ok(wait_until(20, sub {
    for my $name (@names) {
        ($file{$name}) = grep {-f} glob $gp->queue . "/deferred/*/$id{$name}";
        return if !$file{$name};
    }
    1;
}), 'all are files');
$gp->stop;
patch($file{fcontent}, index(slurp($file{fcontent}), 'fcontent line 00030'), 'DAMAGE');
patch($file{fhead}, 6, "\x5a" x 8);
truncate $file{fshort}, index slurp($file{fshort}), 'fshort line 00030';
truncate $file{fempty}, 0;
patch("$file{fbody}.body", 300_000, 'DAMAGE');
unlink "$file{fbodyless}.body";
# Foreign: another message's file under a name of its own, names that are none.
my ($dir, $sub, $copy) = $file{fgood} =~ m{(.*)/([^/]+)/([^/]+)$};
$copy =~ s/^./$copy =~ m{^A} ? 'B' : 'A'/e;
my @owner = (stat $file{fgood})[4, 5];
my $strange = $sub eq '0A' ? '0B' : '0A';
mkdir "$dir/$strange", 0770;
chown @owner, "$dir/$strange";
for my $new ("$dir/$sub/$copy", "$dir/README", "$dir/$sub/core.1234") {
    spew($new, $new =~ /$copy/ ? slurp($file{fgood}) : "something else\n");
    chown @owner, $new;
}
# In a directory that is not its own, with its body.
my ($lost) = $file{flarge} =~ m{([^/]+)$};
rename "$dir/" . substr($lost, -2) . "/$lost$_", "$dir/$strange/$lost$_" or die for '', '.body';
# Stale: a message that has ended comes back from a copy.
my $old = slurp($file{fstale});
$sink->start;
$gp->mark;
$gp->start;
all_arrive(qw(fgood flarge fstale));
ok(wait_until(20, sub { !grep { my $n = $_; !grep {/$id{$n}/} $gp->log_lines(qr/(?:warning|error): /) } qw(fcontent fhead fshort fempty fbody fbodyless) }),
    'each damaged one is named') or diag join "\n", $gp->log_lines(qr/(?:warning|error): /);
ok($gp->find_log(qr/warning: $lost: found in deferred\/$strange; moved to its place$/), 'one in a wrong directory is taken in');
is(scalar(arrived($_)), 0, "$_: damaged, not delivered") for qw(fcontent fhead fshort fempty fbody fbodyless);
ok(wait_until(20, sub { !grep { !/"queue_name": "corrupt"/ } $gp->queue_list }), 'nothing waits') or diag join "\n", $gp->queue_list;
ok($gp->find_log(qr/error: $copy: damaged in deferred; moved to corrupt$/), 'one under a strange name is named');
my @corrupt;
wait_until(10, sub {
    @corrupt = split /\n/, (run_out('find', $gp->queue . '/corrupt', '-type', 'f'))[1];
    return !grep { my $n = $_; !grep {/\b$n$/} @corrupt } map({ $id{$_} } qw(fcontent fhead fshort fempty fbody fbodyless)), "$id{fbody}\\.body";
});
for my $name (qw(fcontent fhead fshort fempty fbody fbodyless)) {
    ok(scalar(grep {/\b$id{$name}$/} @corrupt), "$name: is in corrupt");
}
ok(scalar(grep {/$id{fbody}\.body$/} @corrupt), 'with its body');
# A file goes when the event that ended its message is durable.
my $left;
wait_until(5, sub {
    $left = (run_out('find', $gp->queue . '/deferred', '-type', 'f'))[1];
    return $left eq '';
});
is($left, '', 'nothing else is in deferred');
for my $name (qw(README core.1234)) {
    $gp->wait_log(qr{warning: deferred\S*/$name: no queue file; moved to corrupt$}, "$name: named");
    is(scalar(() = $gp->log_lines(qr{warning: deferred\S*/$name: no queue file; moved to corrupt$})), 1, 'once');
    ok(-f $gp->queue . "/corrupt/$name", 'and set aside');
}
spew($file{fstale}, $old);
chown @owner, $file{fstale};
$gp->mark;
$gp->restart;
send_mail('after', "x\r\n");
all_arrive('after');
is(scalar(grep {1} arrived('fstale')), 1, 'what has ended does not come back');
is_deeply([$gp->log_lines(qr/(?:warning|error): .*(?:damaged|no queue file|found in)/)], [], 'all that was named once');
is(scalar($gp->all_lines(qr/(?:panic|fatal):/)), 0, 'nobody ends by itself');
$gp->stop;
done_testing;
