#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gatepost-security(7) says in a table what each process is and reaches: each line of it is looked for in
# a running instance. Then: no role reads or signals a process of another.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

plan skip_all => 'rights are dropped by root alone' if $> != 0;
my $is_bare = slurp(build() . '/config.h') =~ /^#define GP_SANITIZE/m;

# ---- the page ----

my @rows;
for (split /\n/, slurp(src() . '/man/gatepost-security.7')) {
    next if !/^\.It (\S+) Ta (\S+) Ta (\S+) Ta (.+?) Ta (.+?) Ta (\S+)$/;
    push @rows, { name => $1, user => $2, root => $3, files => $4, dials => $5, starts => $6 };
}
is(scalar @rows, 10, 'the table of the page');

# ---- an instance with every process ----

my $dir = tempdir('security');
my $sink = Gatepost::Sink->new;
my $port = free_port();
spew("$dir/pw", 'joe {SCRAM-SHA-256}4096,c2FsdHNhbHRzYWx0,' . 'A' x 43 . '=,' . 'A' x 43 . "=\n");
spew("$dir/alias", "/^b\@(y+)/ was\$1\@y.test\n");
my $gp = Gatepost::Instance->new(
    main => { relayhost => '[127.0.0.1]:' . $sink->port, smtpd_sasl_type => 'table',
        smtpd_sasl_password_maps => "texthash:$dir/pw", virtual_alias_maps => "pcre:$dir/alias" },
    master => ["$port inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes"],
);
$gp->start;
is($gp->mail('a@x.test', 'b@y.test', "Subject: tt\r\n\r\nx\r\n")->{code}, 250, 'mail goes through it');
ok($gp->drained, 'and out');
is(($sink->messages)[0]{rcpts}[0], 'wasy@y.test', 'by patterns that are machine code');

# Who is there, by the names of the page; what the page calls not confined is left aside.
my (%pids, @outside);
sub check_nss {
    my ($pid) = @_;
    my %is = slurp("/proc/$pid/status") =~ /^(\w+):\t(.*)$/mg;
    my $nobody = getpwnam 'nobody';
    is("$is{Uid} $is{NoNewPrivs} $is{CapEff} $is{CapBnd}", join("\t", ($nobody) x 4) . ' 1' . (' ' . '0' x 16) x 2,
        'nss: no rights of root');
}
sub add { my ($name, $pid) = @_; push @{ $pids{$name} }, $pid }
for my $pid (children_of($gp->master_pid)) {
    my $name = (readlink("/proc/$pid/exe") // next) =~ s{.*/}{}r;
    my @kids = children_of($pid);
    if ($name eq 'nss') { push @outside, $pid; check_nss($pid); next }
    add($name eq 'virtual' ? 'local' : $name, $pid);
    if ($name eq 'local' || $name eq 'virtual') { push @outside, @kids }
    elsif ($name eq 'qmgr') { add('keeper', $_) for @kids }
    elsif ($name eq 'vault') {
        for my $supervisor (@kids) {
            add('supervisor', $supervisor);
            wait_until(10, sub { children_of($supervisor) });
            add('crew', $_) for children_of($supervisor);
        }
    } elsif (@kids) { fail("$name has children") }
}

my %place = (queue => $gp->queue, data => $gp->{main}{data_directory});
my $uid_of = sub {
    my ($param) = @_;
    my ($status, $user) = $gp->tool('gateconf', '-h', $param);
    chomp $user;
    return $status == 0 ? (getpwnam $user)[2] : undef;
};

# One that has only begun is not confined yet.
sub check_process {
    my ($row, $pid) = @_;
    my @wrong;
    wait_until(10, sub { @wrong = wrong_of($row, $pid); !@wrong });
    is("@wrong", '', "$row->{name} $pid: user, root directory, capabilities, limits");
}

sub wrong_of {
    my ($row, $pid) = @_;
    my $status = slurp("/proc/$pid/status") // '';
    my $limits = slurp("/proc/$pid/limits") // '';
    my $uid = $uid_of->($row->{user});
    my %is = $status =~ /^(\w+):\t(.*)$/mg;
    my $root = $row->{root} =~ s/^(queue|data)/$place{$1}/r;
    my @wrong;
    push @wrong, "Uid $is{Uid}" if $is{Uid} ne join "\t", ($uid) x 4;
    push @wrong, "NoNewPrivs $is{NoNewPrivs}" if $is{NoNewPrivs} != 1;
    push @wrong, "Seccomp $is{Seccomp}" if !$is_bare && $is{Seccomp} != 2;
    push @wrong, map {"$_ $is{$_}"} grep { $is{$_} =~ /[^0]/ } qw(CapInh CapPrm CapEff CapBnd CapAmb);
    push @wrong, 'root ' . readlink "/proc/$pid/root" if readlink("/proc/$pid/root") ne $root;
    push @wrong, 'cwd ' . readlink "/proc/$pid/cwd" if readlink("/proc/$pid/cwd") ne $root;
    # Anonymous code is what PCRE2 has made in cleanup; nowhere is any that can be changed.
    my @maps = split /\n/, slurp("/proc/$pid/maps") // '';
    push @wrong, grep {!$is_bare && / .wx/} @maps;
    my $made = grep {/ r-xp \S+ 00:00 0 *$/} @maps;
    push @wrong, "$made pieces of code" if !$is_bare && ($made > 0) != ($row->{name} eq 'cleanup');
    push @wrong, 'cores' if $limits !~ /^Max core file size +0 +0 /m;
    push @wrong, 'processes' if !$is_bare && $row->{starts} eq 'none' && $limits !~ /^Max processes +0 +0 /m;
    push @wrong, 'descriptors' if !$is_bare && $row->{name} eq 'crew' && $limits !~ /^Max open files +0 +0 /m;
    # /proc of a process that is undumpable belongs to root.
    push @wrong, 'dumpable' if (stat "/proc/$pid/mem")[4] != 0;
    return @wrong;
}

for my $row (@rows) {
    my $name = $row->{name};
    ok($pids{$name}, "$name runs");
    check_process($row, $_) for @{ $pids{$name} // [] };
    my (undef, $list) = $gp->tool('gatepost', 'sandbox-test', '--list', $name);
    my ($names) = $list =~ /^names:(.*)$/m;
    is($names =~ s/^ //r || 'none', $row->{files}, "$name: files");
    next if $is_bare;
    my (undef, $out) = $gp->tool('gatepost', 'sandbox-test', $name);
    my %how = map {/^\S+ +(.*?)  +(allowed|refused|\S+)/ ? ($1 => $2) : ()} split /\n/, $out;
    my @dials = grep {$_} $how{'connect by TCP'} eq 'allowed' ? 'TCP' : '', $how{'make a UDP socket'} eq 'allowed' ? 'UDP' : '';
    is("@dials" || 'none', $row->{dials}, "$name: connections");
    is($how{fork} eq 'allowed' ? 'itself' : 'none', $row->{starts}, "$name: children");
    is($how{'execute a program'}, 'refused', "$name: executes nothing");
}
check_process({ name => 'supervisor', user => 'vault_owner', root => 'queue/empty/vault', starts => 'crew' }, $_)
    for @{ $pids{supervisor} };

# Nobody else: each process below master is in the table or named as an exception.
my %known = map { $_ => 1 } map({@$_} values %pids), @outside;
my @all = grep { $_ != $gp->master_pid } Gatepost::Kit::descendants($gp->master_pid);
is_deeply([map { readlink "/proc/$_/exe" } grep { is_alive($_) && !$known{$_} } @all], [], 'no other process');
is(scalar(keys %{ { map { $uid_of->($_->{user}) => 1 } @rows } }), 8, 'a user for each role');

# ---- one role and another ----

# What a process of that user, not confined at all, can do to those of the others.
sub as_user {
    my ($uid, $gid, @targets) = @_;
    pipe my $r, my $w or die "pipe: $!";
    defined(my $pid = fork) or die "fork: $!";
    if (!$pid) {
        close $r;
        $) = "$gid $gid";
        $( = $gid;
        ($<, $>) = ($uid, $uid);
        POSIX::_exit(1) if $< != $uid || $> != $uid;
        for my $target (@targets) {
            print $w "signals $target\n" if kill 0, $target;
            for my $file (qw(mem environ maps fd/0)) {
                open my $fh, '<', "/proc/$target/$file" or next;
                print $w "reads $target/$file\n";
            }
            print $w "lists $target\n" if opendir my $d, "/proc/$target/fd";
        }
        close $w;
        POSIX::_exit(0);
    }
    close $w;
    local $/;
    my $out = <$r>;
    waitpid $pid, 0;
    return "$?$out";
}
my %by_uid;
for my $row (@rows) {
    push @{ $by_uid{ $uid_of->($row->{user}) } }, @{ $pids{ $row->{name} } // [] };
}
for my $row (grep { $_->{name} !~ /^(?:keeper|crew)$/ } @rows) {
    my $uid = $uid_of->($row->{user});
    my @others = map {@{ $by_uid{$_} }} grep { $_ != $uid } keys %by_uid;
    is(as_user($uid, (getpwuid $uid)[3], @others, $gp->master_pid), '0', "$row->{name}'s user reaches no other process");
    is(as_user($uid, (getpwuid $uid)[3], @{ $by_uid{$uid} }) =~ s/signals \d+\n//gr, '0', "$row->{name}'s user reads none of its own");
}
$gp->stop;
done_testing;
