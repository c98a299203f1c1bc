#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# kill -9 of whatever delivers on this machine, under load: the front and the spawner of local and
# virtual, their children, nss, and cleanup below an alias. Every acknowledged message is delivered; a
# Maildir never has it twice, nor does an alias make two of one; an mbox only where the log said "in
# doubt" before.
use strict;
use warnings;
use Gatepost::Netns;
use File::Path qw(make_path);
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Tables;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $kills = $ENV{GP_KILLS} // 12;
my $seed  = $ENV{GP_SEED} // 20261121;
note "seed $seed";
srand $seed;

my $dir    = tempdir('kill');
my $passwd = slurp('/etc/passwd') . "anna:x:47001:47001::$dir/home/anna:/bin/sh\n";
make_path("$dir/home/anna", "$dir/spool", "$dir/virtual");
chmod 01777, "$dir/spool";
chown 47001, 47001, "$dir/home/anna";
chown 47003, 47003, "$dir/virtual";
spew("$dir/passwd", $passwd);
system('mount', '--bind', "$dir/passwd", '/etc/passwd') == 0 or die 'mount';

my $gp = Gatepost::Instance->new(main => {
    mydestination => 'mx.example', mail_spool_directory => "$dir/spool",
    alias_maps => texthash("$dir/aliases", "list carl\@virt.test\n"),
    local_recipient_maps => 'unix:passwd.byname $alias_maps',
    virtual_mailbox_domains => 'virt.test', virtual_mailbox_base => "$dir/virtual",
    virtual_mailbox_maps => texthash("$dir/vbox", "carl\@virt.test carl/\nmary\@virt.test mary/\n"),
    virtual_uid_maps => 'static:47003', virtual_gid_maps => 'static:47003',
    minimal_backoff_time => '1s', maximal_backoff_time => '2s',
});
$gp->start;

# One client sends without a pause; what was acknowledged, by subject.
my @rcpts = qw(anna@mx.example mary@virt.test list@mx.example);
my $out   = "$dir/acknowledged";
my $pid   = fork // die;
if (!$pid) {
    open my $f, '>>', $out or POSIX::_exit(1);
    $f->autoflush;
    for (my $n = 0; !-e "$dir/stop"; $n++) {
        my $to    = $rcpts[$n % 3];
        my $reply = eval { $gp->mail('s@client.test', $to, "Subject: m$n\r\n\r\nbody $n\r\n") };
        print $f "m$n $to $1\n" if $reply && $reply->{text} =~ /queued as (\w+)/;
        sleep 0.02 if !$reply || $reply->{code} != 250;
    }
    POSIX::_exit(0);
}

my @roles = qw(local virtual nss local virtual cleanup);
for my $n (1 .. $kills) {
    my $role = $roles[$n % @roles];
    sleep 0.2 + rand 0.3;
    ok(wait_until(10, sub { $gp->kill_role($role, int rand 4) }), "kill $n: $role");
}
ok(wait_until(60, sub { 50 < (() = (slurp($out) // '') =~ /\n/g) }), 'mail goes on');
spew("$dir/stop", '');
waitpid $pid, 0;
ok(wait_until(60, sub { $gp->drained }), 'everything is delivered') or diag join "\n", $gp->queue_list;

sub count_in {
    my ($text, $count) = @_;
    $count->{$_}++ for $text =~ /^Subject: (m\d+)$/mg;
}
my %count = map { $_ => {} } @rcpts;
count_in(slurp("$dir/spool/anna") // '', $count{'anna@mx.example'});
count_in(slurp($_), $count{'mary@virt.test'}) for glob "$dir/virtual/mary/new/*";
count_in(slurp($_), $count{'list@mx.example'}) for glob "$dir/virtual/carl/new/*";

my $log = slurp("$gp->{dir}/log");
my %doubt = map { $_ => 1 } $log =~ /warning: (\w+): to=<[^>]*>: in doubt: /g;
my ($all, @lost, @silent, @twice) = 0;
for (split /\n/, slurp($out)) {
    my ($subject, $to, $id) = split ' ';
    my $n = $count{$to}{$subject} // 0;
    $all++;
    push @lost,   "$subject $to $id" if $n == 0;
    push @twice,  "$subject $to $id" if $n > 1 && $to =~ /mary|list/;
    push @silent, "$subject $to $id" if $n > 1 && !$doubt{$id};
}
cmp_ok($all, '>', 50, "$all messages were acknowledged");
is_deeply(\@lost,   [], 'none is lost');
is_deeply(\@twice,  [], 'no Maildir has one twice, no alias made two of one');
is_deeply(\@silent, [], 'none is doubled in silence');
is(scalar(() = glob "$dir/virtual/{mary,carl}/tmp/*"), 0, 'tmp is empty') or diag 'left by a killed child';
$gp->stop;
done_testing;
