#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Many who try passwords at once: their line is bounded (454), others take their turn before it is
# done, SCRAM and greetings do not wait at all. And no process keeps a password in its memory.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sasl;
use Gatepost::Smtp;
use Gatepost::Tables;
use IO::Select;
use Test::More;
use Time::HiRes qw(time);

raise_files();
my $dir = tempdir('crowd');
my $slow = crypt 'slow-secret', '$6$rounds=400000$abcdefgh';
my $password = 'Xq7-' . join('', map { chr 97 + int rand 26 } 1 .. 20) . '-pass';
my $users = table('hash', "$dir/users", "slow $slow\nfast " . scram_record('fast-secret') . "\n"
    . "memory " . crypt_record($password) . ' ' . scram_record($password) . "\n");
my $port = free_port();
my $slowly = table('hash', "$dir/slowly", join '', map {"slow$_ $slow\n"} 1 .. 20);
my $gp = Gatepost::Instance->new(main => {
    smtpd_sasl_auth_enable => 'yes', smtpd_sasl_type => 'table', smtpd_sasl_password_maps => $users,
    smtpd_error_sleep_time => 0, default_process_limit => 1000,
}, master => ["$port inet n - n - - smtpd -o smtpd_sasl_password_maps=$slowly"]);
$gp->start;

sub session {
    my (%arg) = @_;
    my $c = $gp->client(%arg) or return;
    return $c->hello ? $c : undef;
}

# Memory of a process, region by region.
sub has_in_memory {
    my ($pid, @needles) = @_;
    open my $mem, '<:raw', "/proc/$pid/mem" or return 'cannot be read';
    no warnings 'portable';
    for my $line (split /\n/, slurp("/proc/$pid/maps") // '') {
        my ($from, $to) = $line =~ /^([0-9a-f]+)-([0-9a-f]+) rw/ or next;
        seek $mem, hex $from, 0;
        next if !read $mem, my $bytes, hex($to) - hex $from;
        for my $needle (@needles) { return $line if index($bytes, $needle) >= 0 }
    }
    return '';
}

subtest 'memory' => sub {
    plan skip_all => 'only root reads the memory of others' if $>;
    plan skip_all => 'a sanitizer keeps memory that was given back' if $gp->{main}{daemon_directory} =~ m{^\Q$gp->{dir}};
    for my $row ([\&plain, 235], [\&login, 235], [\&scram, 235]) {
        is($row->[0]->(session(), 'memory', $password)->{code}, $row->[1], 'a login');
        is($row->[0]->(session(), 'memory', "$password-wrong")->{code}, 535, 'and a wrong one');
    }
    my $c = session();
    $c->cmd('AUTH LOGIN', 334);
    $c->send(substr(b64($password), 0, 10));
    my @kept = map { [$_, has_in_memory($_, 'memory', 'no such text at all')] } @{ $gp->roles->{vault} }[0];
    ok($kept[0][1], 'a text that is there is found');
    my $roles = $gp->roles;
    for my $role (qw(smtpd vault master)) {
        for my $pid (@{ $roles->{$role} }) {
            is(has_in_memory($pid, $password, b64("\0memory\0$password"), b64($password)), '', "$role has no password left");
        }
    }
    for my $pid (@{ $roles->{smtpd} }) {
        is(has_in_memory($pid, $slow, substr $slow, 30, 40), '', 'smtpd has no hash');
    }
};

subtest 'a crowd' => sub {
    my @crowd = map { session(timeout => 60) } 1 .. 300;
    is(scalar(grep { $_ } @crowd), 300, '300 sessions');
    $_->send('AUTH PLAIN ' . b64("\0slow\0wrong$_") . "\r\n") for @crowd;
    my $select = IO::Select->new(map { $_->sock } @crowd);
    ok($select->can_read(60), 'there is an answer');
    my $began = time;
    my $c = session();
    my $greeting = time - $began;
    is(scram($c, 'fast', 'fast-secret')->{code}, 235, 'SCRAM goes on');
    my $others = session(from => '127.0.0.2');
    is(plain($others, 'slow', 'slow-secret')->{code}, 235, 'another client has its turn');
    my $took = time - $began;
    my @answers = grep { defined } map { IO::Select->new($_->sock)->can_read(0) ? $_->reply->{code} : undef } @crowd;
    cmp_ok(scalar(@answers), '<', 250, 'long before the crowd is done');
    cmp_ok(scalar(grep { $_ == 454 } @answers), '>=', 20, 'of whom some are put off');
    is(scalar(grep { $_ != 454 && $_ != 535 } @answers), 0, 'and the others refused');
    diag(sprintf 'greeting %.0f ms, all %.1f s, %d answers to the crowd', $greeting * 1000, $took, scalar @answers);
    $gp->find_log(qr/SASL PLAIN temporary authentication failure: too many password checks are waiting, sasl_username=slow/);
    # They leave: what they asked for is not computed any more.
    close $_->sock for @crowd;
    ok($gp->find_log(qr/lost connection after AUTH from/), 'who leaves is not waited for');
    my $left = time;
    is(plain(session(), 'slow', 'slow-secret')->{code}, 235, 'and the line is free');
    diag(sprintf '%.1f s', time - $left);
};

# What vault and its children have computed, in clock ticks.
sub ticks {
    my $sum = 0;
    for my $pid (@{ $gp->roles->{vault} }) {
        my (undef, $rest) = split /\) /, slurp("/proc/$pid/stat") // '', 2;
        $sum += (split ' ', $rest // '')[11];
    }
    return $sum;
}

subtest 'equal work' => sub {
    my %cost;
    for my $who (qw(slow nobody)) {
        my $before = ticks();
        is(plain(session(port => $port), "$who$_", 'wrong')->{code}, 535, "$who$_") for 1 .. 4;
        $cost{$who} = ticks() - $before;
    }
    cmp_ok($cost{slow}, '>', 10, 'a password of a login costs something') or diag "$cost{slow} ticks";
    cmp_ok($cost{nobody}, '>', $cost{slow} / 2, 'that of a login that is not there no less');
    cmp_ok($cost{nobody}, '<', $cost{slow} * 2, 'nor more');
};
done_testing;
